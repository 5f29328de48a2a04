"""Label maps to NIfTI, with the exact geometry of the image."""

import gzip
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.files import atomic_target, full_suffix
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.nifti import label_map_header
from SAMFinetuneLogic.imaging.sidecar import check_sidecar, sidecar_path, write_sidecar

_GZIP_LEVEL = 6


def write_label_map(
    path: Path, labels: LabelMap, provenance: Mapping[str, Any] | None = None, overwrite: bool = True
) -> Path:
    """Write ``labels`` as NIfTI-1 and, beside it, the JSON sidecar with names, colours and provenance.

    The affine in the file equals that of ``labels`` within 1e-5 mm while its offsets stay below 256 mm (see
    ``nifti.py`` for what single precision allows beyond). A label map with the same content gives the same bytes.

    Args:
        path: ends in ``.nii.gz`` or ``.nii``.
        provenance: written as it is, so it must be fit for JSON and hold nothing about the patient.
        overwrite: whether existing files may be replaced. A JSON file of that name which is not a sidecar of ours
            is never replaced.

    Returns:
        The path of the sidecar: the same name with ``.json``.

    Raises:
        InputError: another suffix.
        GeometryError: the grid is sheared.
        OutputError: a file exists and must not be replaced, or cannot be written.
    """
    path = Path(path)
    check_label_map_path(path, overwrite)
    header = label_map_header(labels.voxels, labels.ijk_to_ras)
    with atomic_target(path, overwrite) as temporary:
        for _ in write_voxels(temporary, header, (labels.voxels,), full_suffix(path).lower() == ".nii.gz"):
            pass
        # Before the label map takes its place: where no room is left for the names, it stays as it was.
        sidecar = write_sidecar(path, labels.segments, provenance, overwrite)
    return sidecar


def check_label_map_path(path: Path, overwrite: bool) -> None:
    """Look whether a label map and its sidecar can go there, before anything is written or computed.

    Raises:
        InputError, OutputError: as :func:`write_label_map`.
    """
    if full_suffix(path).lower() not in (".nii", ".nii.gz"):
        raise InputError(f"Label maps are written as NIfTI, not as {path.name}; end the name in .nii.gz.")
    if path.name.lower() in (".nii", ".nii.gz"):
        raise InputError(f"{path} has no name before {path.name}, so that it would be hidden; give it one.")
    sidecar = sidecar_path(path)
    for existing in (path, sidecar):
        # Looked at before anything is written: a label map must not change if its sidecar cannot.
        if existing.exists() and not overwrite:
            raise OutputError(f"{existing} exists already; choose another name, or allow overwriting.")
    check_sidecar(path)


def write_voxels(
    path: Path, header: bytes, parts: Iterable[np.ndarray], compressed: bool = True, plain: bytes = b""
) -> Generator[int]:
    """Write a header and the voxels that follow it, little-endian, part by part.

    Args:
        header: compressed with the voxels, as in NIfTI.
        parts: arrays of consecutive voxels.
        plain: written before all that, as it is, as in NRRD.

    Yields:
        how many parts are written, after each of them.
    """
    with path.open("wb") as raw:
        raw.write(plain)
        if not compressed:
            raw.write(header)
            yield from _write_parts(raw, parts)
        else:
            with gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as stream:
                stream.write(header)
                yield from _write_parts(stream, parts)


def _write_parts(stream: IO[bytes] | gzip.GzipFile, parts: Iterable[np.ndarray]) -> Generator[int]:
    for number, part in enumerate(parts, start=1):
        content = part.astype(part.dtype.newbyteorder("<"), copy=False)
        stream.write(np.ascontiguousarray(content).data)
        yield number
