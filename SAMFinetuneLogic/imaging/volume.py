"""A volume: voxels and where they lie in the patient."""

from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex, array_axis
from SAMFinetuneLogic.imaging.geometry import as_affine, as_points, inverse_affine, spacing_of, transform_points

# For each slice axis: the columns of an (i, j, k) point that are its (index, row, column).
_SLICE_ORDER: dict[Axis, tuple[int, int, int]] = {"k": (2, 1, 0), "j": (1, 2, 0), "i": (0, 2, 1)}


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a regular grid.

    Attributes:
        voxels: (k, j, i) of any real type, or (k, j, i, 3) uint8 for a colour image. A read-only view: nothing
            in this package ever changes the values of a source image.
        ijk_to_ras: (4, 4) float64, read-only; maps the centre of voxel (i, j, k) to RAS in mm.
        modality: DICOM modality code (CT, MR, PT, US, CR, DX, MG, ...); None when unknown.
        name: for messages and provenance; the file's name, never the patient's.

    Raises:
        GeometryError: the voxels are not a volume, or the matrix is not an invertible affine of finite numbers.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    modality: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        voxels = np.asarray(self.voxels).view()
        color = voxels.ndim == 4 and voxels.shape[3] == 3 and voxels.dtype == np.uint8
        if voxels.ndim != 3 and not color:
            raise GeometryError(
                f"A volume has shape (k, j, i), or (k, j, i, 3) with 8-bit colours, not {voxels.shape} of "
                f"{voxels.dtype}; choose one component or frame."
            )
        if 0 in voxels.shape:
            raise GeometryError(f"The volume has no voxels (shape {voxels.shape}); choose an image with content.")
        if voxels.dtype.kind not in "biuf":
            raise GeometryError(f"Voxels must be real numbers, not {voxels.dtype}; convert the image first.")
        voxels.flags.writeable = False
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(self, "ijk_to_ras", as_affine(self.ijk_to_ras))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (k, j, i)."""
        k, j, i = self.voxels.shape[:3]
        return k, j, i

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (i, j, k), in mm."""
        return spacing_of(self.ijk_to_ras)

    @property
    def is_color(self) -> bool:
        """Whether each voxel is an (R, G, B) colour."""
        return self.voxels.ndim == 4

    def to_ras(self, ijk: np.ndarray) -> np.ndarray:
        """Voxel positions (N, 3) in the order (i, j, k) to RAS mm (N, 3)."""
        return transform_points(self.ijk_to_ras, ijk)

    def to_ijk(self, ras: np.ndarray) -> np.ndarray:
        """RAS mm (N, 3) to fractional voxel positions (N, 3) in the order (i, j, k)."""
        return transform_points(inverse_affine(self.ijk_to_ras), ras)

    def slice_pixels(self, s: SliceIndex) -> np.ndarray:
        """The pixels (rows, cols) or (rows, cols, 3) of a slice, as a read-only view.

        Raises:
            GeometryError: the index lies outside of the volume.
        """
        count = self.slice_count(s.axis)
        if not 0 <= s.index < count:
            raise GeometryError(f"Slice {s.axis}={s.index} is outside of the volume; use 0 to {count - 1}.")
        return np.moveaxis(self.voxels, array_axis(s.axis), 0)[s.index]

    def slice_shape(self, axis: Axis) -> tuple[int, int]:
        """(rows, cols) of the slices along ``axis``: k -> (j, i), j -> (k, i), i -> (k, j)."""
        removed = array_axis(axis)
        rows, cols = (size for number, size in enumerate(self.shape) if number != removed)
        return rows, cols

    def slice_count(self, axis: Axis) -> int:
        """How many slices there are along ``axis``."""
        return self.shape[array_axis(axis)]

    def slice_spacing(self, axis: Axis) -> tuple[float, float]:
        """(row, column) distance of pixel centres in the slices along ``axis``, in mm."""
        _, row, col = _SLICE_ORDER[axis]
        return self.spacing[row], self.spacing[col]

    def ras_to_slice(self, ras: np.ndarray, axis: Axis) -> np.ndarray:
        """RAS mm (N, 3) to (N, 3) fractional (slice index, row, column) for slices along ``axis``."""
        return self.to_ijk(ras)[:, _SLICE_ORDER[axis]]

    def slice_to_ras(self, points: np.ndarray, axis: Axis) -> np.ndarray:
        """(N, 3) fractional (slice index, row, column) of slices along ``axis`` to RAS mm (N, 3)."""
        positions = as_points(points)
        ijk = np.empty_like(positions)
        ijk[:, _SLICE_ORDER[axis]] = positions
        return self.to_ras(ijk)
