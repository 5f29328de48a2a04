"""Writes the segmentation to files: what stands behind the Export section. No Qt."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import slicer

from SAMFinetuneLib.work import Work
from SAMFinetuneLogic import __version__
from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.files import atomic_target
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.sidecar import sidecar_path, write_sidecar
from SAMFinetuneLogic.imaging.writing import write_label_map
from SAMFinetuneLogic.models.catalogue import load_catalogue
from SAMFinetuneLogic.mrml.annotated import annotations_of
from SAMFinetuneLogic.mrml.segments import describe, segment_ids, segment_mask, segmentation_labels

Format = Literal["nifti", "nifti_files", "seg_nrrd"]


@dataclass(frozen=True)
class Exported:
    """What :func:`export` wrote.

    Attributes:
        paths: the files, sidecars included.
        notice: a sentence on what a file cannot hold, or None.
    """

    paths: tuple[Path, ...]
    notice: str | None = None


FORMATS: dict[Format, str] = {
    "nifti": "NIfTI, one label map (.nii.gz)",
    "nifti_files": "NIfTI, a file for each segment (.nii.gz)",
    "seg_nrrd": "Slicer segmentation (.seg.nrrd)",
}
"""What can be written, with the text to show."""


def export(
    work: Work, folder: Path, name: str, kind: Format = "nifti", overwrite: bool = False, model: str = ""
) -> Exported:
    """Write all segments on the volume's grid, and a JSON sidecar beside each file.

    Args:
        name: the file's name without its suffix.
        model: id of the model that was used, for the sidecar.

    Raises:
        InputError: there are no segments, or the name cannot be one of a file.
        OutputError: a file exists and ``overwrite`` is False, or cannot be written.
    """
    stem = name.strip()
    if not stem or stem != _file_name(stem):
        raise InputError(f"{name!r} cannot be a file's name: use letters, digits, '-', '_' and '.'.")
    node = work.segmentation_node
    if not segment_ids(node):
        raise InputError(f"{node.GetName()} has no segments: add one first.")
    facts = provenance(work, model)
    if kind == "seg_nrrd":
        return Exported(_write_seg_nrrd(work, Path(folder) / f"{stem}.seg.nrrd", facts, overwrite))
    notice = None
    if kind == "nifti":
        found = segmentation_labels(node, work.volume)
        results = {Path(folder) / f"{stem}.nii.gz": found.labels}
        notice = " ".join((*found.notices, "The other formats keep them all.")) if found.notices else None
    else:
        results = _one_each(work, Path(folder), stem)
    for path in results:
        if not overwrite and path.exists():
            raise OutputError(f"{path} exists already; choose another name, or allow replacing.")
    written: list[Path] = []
    for path, labels in results.items():
        written += [path, write_label_map(path, labels, facts, overwrite=overwrite)]
    return Exported(tuple(written), notice)


def provenance(work: Work, model: str = "") -> dict[str, Any]:
    """How the result came about; nothing about the patient, not even the volume's name."""
    facts: dict[str, Any] = {
        "software": f"SAMFinetune {__version__}",
        "image": {"shape_kji": list(work.volume.shape)},
        "window": work.window.to_dict(),
        "annotated_slices": {
            work.name(segment): len(annotations_of(work.segmentation_node, segment, work.volume))
            for segment in segment_ids(work.segmentation_node)
        },
        "for_research_use_only": True,
    }
    entry = load_catalogue().get(model)
    if entry is not None:
        facts["model"] = {"id": entry.id, "sha256": entry.sha256, "licence": entry.licence}
    return facts


def _one_each(work: Work, folder: Path, stem: str) -> dict[Path, LabelMap]:
    results: dict[Path, LabelMap] = {}
    for segment_id in segment_ids(work.segmentation_node):
        segment = describe(work.segmentation_node, segment_id, 1)
        base = f"{stem}_{_file_name(segment.name) or 'segment'}"
        path, number = folder / f"{base}.nii.gz", 2
        while path in results:
            path, number = folder / f"{base}_{number}.nii.gz", number + 1
        voxels = segment_mask(work.segmentation_node, segment_id, work.volume).astype(np.uint8)
        results[path] = LabelMap(voxels, work.volume.ijk_to_ras, (segment,))
    return results


def _write_seg_nrrd(work: Work, path: Path, facts: dict[str, Any], overwrite: bool) -> tuple[Path, ...]:
    sidecar = sidecar_path(path)
    for existing in (path, sidecar):
        if existing.exists() and not overwrite:
            raise OutputError(f"{existing} exists already; choose another name, or allow replacing.")
    storage = slicer.vtkMRMLSegmentationStorageNode()  # not the node's own: its file stays what it is
    with atomic_target(path, overwrite) as temporary:
        storage.SetFileName(str(temporary))
        if not storage.WriteData(work.segmentation_node):
            raise OutputError(f"Slicer could not write {path}: look into its error log, and at the free space.")
    segments = [describe(work.segmentation_node, s, n) for n, s in enumerate(segment_ids(work.segmentation_node), 1)]
    return path, write_sidecar(path, segments, facts, overwrite)


def _file_name(text: str) -> str:
    """A text with nothing that a file system could object to."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._")
