"""Noticing truncated files: ITK reads NIfTI and GIPL files that end early and fills up with zeros."""

import gzip
import zlib
from pathlib import Path

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.nifti import HEADER_BYTES, promised_bytes

_CHUNK_BYTES = 1 << 20
_GIPL_HEADER_BYTES = 256


def check_complete(path: Path, voxel_bytes: int) -> None:
    """Check that a NIfTI or GIPL file has all its voxels, and that a compressed one unpacks without an error.

    Args:
        voxel_bytes: size of the voxels that were read; what a GIPL file must hold at least.

    Raises:
        InputError: the file ends too early or its checksum is wrong.
    """
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz", ".gipl", ".gipl.gz")):
        return  # the other formats' readers report this themselves
    try:
        header, size = _unpack(path)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is damaged (it does not unpack to its end); fetch or export it again.") from error
    promised = promised_bytes(header)
    expected = voxel_bytes + _GIPL_HEADER_BYTES if promised is None else promised
    if size < expected:
        raise InputError(f"{path} ends too early ({size} of {expected} bytes); fetch or export it again.")


def _unpack(path: Path) -> tuple[bytes, int]:
    """The first bytes and the unpacked size of a file that may be compressed, whatever its name says."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    if not packed:
        with path.open("rb") as raw:
            return raw.read(HEADER_BYTES), path.stat().st_size
    with gzip.open(path) as stream:
        header = stream.read(HEADER_BYTES)
        size = len(header)
        while chunk := stream.read(_CHUNK_BYTES):
            size += len(chunk)
    return header, size
