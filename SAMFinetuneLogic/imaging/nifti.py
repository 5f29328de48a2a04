"""The NIfTI-1 header: written here rather than by SimpleITK, whose quaternions can miss the geometry.

A quaternion's scalar part is not stored but recovered as sqrt(1 - b^2 - c^2 - d^2). Near a half turn (and an image
in LPS order with a slight tilt is near a half turn) single precision loses it: SimpleITK's qform was then seen to
be wrong by 2.6e-3 mm per voxel. Here the best quaternion in reach is searched, and if none holds, the qform is
declared absent (code 0) and the sform alone, which never suffers from this, carries the geometry.

All numbers of the header are single precision. So the matrix comes back within 1e-5 mm while its offsets stay
below 256 mm; beyond that, within 6e-8 of their size (3e-5 mm at one metre). Offsets that were read from a NIfTI
file come back exactly.

Format: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

import struct
from itertools import product

import numpy as np

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.geometry import is_orthogonal, spacing_of

HEADER_BYTES = 348
DATA_OFFSET = 352
_DATATYPES = {np.dtype(np.uint8): 2, np.dtype(np.uint16): 512}
_SCANNER = 1  # code of a geometry that comes from the scanner
_MILLIMETRES = 2
_QFORM_TOLERANCE = 1e-5  # mm
_REACH = 6  # steps of single precision to either side in which a better quaternion is looked for


def promised_bytes(header: bytes) -> int | None:
    """How long a file with this header (its first 348 bytes) must be, unpacked, to hold all its voxels.

    0 when the voxels lie in a second file; None when this is no NIfTI-1 header.
    """
    if len(header) < HEADER_BYTES:
        return None
    for order in "<>":
        if struct.unpack_from(f"{order}i", header)[0] == HEADER_BYTES:
            break
    else:
        return None
    count, *sizes = struct.unpack_from(f"{order}8h", header, 40)
    (bits,) = struct.unpack_from(f"{order}h", header, 72)
    (offset,) = struct.unpack_from(f"{order}f", header, 108)
    if not 1 <= count <= 7 or min(sizes[:count]) < 1 or not np.isfinite(offset):
        return None
    voxels = int(np.prod(sizes[:count], dtype=np.int64))
    single_file = header[344:348] == b"n+1\0"
    return int(offset) + voxels * bits // 8 if single_file else 0


def check_grid(shape: tuple[int, ...], ijk_to_ras: np.ndarray) -> None:
    """Look whether a label map (k, j, i) on this grid can be written, before it is computed.

    Raises:
        GeometryError: a sheared grid (no reader built on ITK, 3D Slicer among them, accepts one), or more than
            32767 voxels along an axis.
    """
    if not is_orthogonal(ijk_to_ras):
        raise GeometryError(
            "The image's axes are not perpendicular (sheared), which NIfTI readers refuse; resample it first."
        )
    if max(shape) > np.iinfo(np.int16).max:
        raise GeometryError(f"NIfTI holds at most 32767 voxels along an axis, not {shape}; crop the image first.")


def label_map_header(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> bytes:
    """The 352 bytes before the voxels of a single-file NIfTI-1 label map.

    Args:
        voxels: (k, j, i) uint8 or uint16; written little-endian, i fastest.
        ijk_to_ras: (4, 4), voxel axes perpendicular to each other.

    Raises:
        GeometryError: as :func:`check_grid`.
    """
    check_grid(voxels.shape, ijk_to_ras)
    spacing = spacing_of(ijk_to_ras)
    left_handed = np.linalg.det(ijk_to_ras[:3, :3]) < 0
    quaternion, error = _best_quaternion(ijk_to_ras, left_handed)
    header = bytearray(DATA_OFFSET)
    struct.pack_into("<i", header, 0, HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, *reversed(voxels.shape), 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _DATATYPES[voxels.dtype.newbyteorder("=")], voxels.dtype.itemsize * 8)
    struct.pack_into("<4f", header, 76, -1.0 if left_handed else 1.0, *spacing)
    struct.pack_into("<3f", header, 108, DATA_OFFSET, 1.0, 0.0)  # values are stored as they are: slope 1, offset 0
    header[123] = _MILLIMETRES
    struct.pack_into("<2h", header, 252, _SCANNER if error <= _QFORM_TOLERANCE else 0, _SCANNER)
    struct.pack_into("<6f", header, 256, *quaternion, *ijk_to_ras[:3, 3])
    struct.pack_into("<12f", header, 280, *ijk_to_ras[:3].reshape(-1))
    header[344:348] = b"n+1\0"
    return bytes(header)


def _best_quaternion(ijk_to_ras: np.ndarray, left_handed: bool) -> tuple[np.ndarray, float]:
    """Single-precision (b, c, d) whose matrix comes nearest, and its largest error in mm per voxel."""
    spacing = np.array(spacing_of(ijk_to_ras))
    signed = spacing * np.array([1.0, 1.0, -1.0 if left_handed else 1.0])
    rotation = ijk_to_ras[:3, :3] / signed
    exact = _quaternion_of(rotation)
    steps = np.array(list(product(range(-_REACH, _REACH + 1), repeat=3)), dtype=np.float32)
    candidates = exact[1:].astype(np.float32) + steps * np.spacing(np.abs(exact[1:]).astype(np.float32))
    errors = np.abs((_rotations_of(candidates.astype(np.float64)) - rotation) * signed).max(axis=(1, 2))
    best = int(errors.argmin())
    return candidates[best], float(errors[best])


def _quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """The unit quaternion (a, b, c, d), a >= 0, of the rotation nearest to a (3, 3) matrix.

    It is the eigenvector of the largest eigenvalue of Bar-Itzhack's symmetric matrix (2000), which has no special
    cases: the usual formulas divide by a part that may vanish.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    matrix = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    quaternion = np.linalg.eigh(matrix)[1][:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion


def _rotations_of(parts: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations that a reader makes of stored (N, 3) quaternion parts (b, c, d), as nifti1.h says."""
    squares = (parts**2).sum(axis=1)
    half_turn = 1.0 - squares < 1e-7  # then readers take the scalar part as 0 and normalise the others
    a = np.sqrt(np.where(half_turn, 0.0, 1.0 - squares))
    b, c, d = (parts / np.where(half_turn, np.sqrt(squares), 1.0)[:, None]).T
    rows = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
