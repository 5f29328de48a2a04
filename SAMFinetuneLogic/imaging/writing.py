"""Label maps to NIfTI, with the exact geometry of the image."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.files import atomic_target, full_suffix
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.nifti import label_map_header
from SAMFinetuneLogic.imaging.sidecar import is_sidecar, sidecar_path, write_sidecar

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
    suffix = full_suffix(path).lower()
    if suffix not in (".nii", ".nii.gz"):
        raise InputError(f"Label maps are written as NIfTI, not as {path.name}; end the name in .nii.gz.")
    sidecar = sidecar_path(path)
    for existing in (path, sidecar):
        # Looked at before anything is written: a label map must not change if its sidecar cannot.
        if existing.exists() and not overwrite:
            raise OutputError(f"{existing} exists already; choose another name, or allow overwriting.")
    if sidecar.exists() and not is_sidecar(sidecar):
        raise OutputError(f"{sidecar} is another tool's file and would be lost; choose another name for the result.")
    header = label_map_header(labels.voxels, labels.ijk_to_ras)
    content = labels.voxels.astype(labels.voxels.dtype.newbyteorder("<"), copy=False)
    with atomic_target(path, overwrite) as temporary, temporary.open("wb") as raw:
        if suffix == ".nii":
            raw.write(header)
            raw.write(np.ascontiguousarray(content).data)
        else:
            with gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as stream:
                stream.write(header)
                stream.write(np.ascontiguousarray(content).data)
    return write_sidecar(path, labels.segments, provenance, overwrite)
