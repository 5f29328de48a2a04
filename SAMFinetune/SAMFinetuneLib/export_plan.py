"""What an export writes, and how: from the segments as they are at one moment to whole files or none. No Qt."""

import re
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from SAMFinetuneLib.together import together
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic import __version__
from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.files import json_bytes
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.nifti import label_map_header
from SAMFinetuneLogic.imaging.sidecar import check_sidecar, sidecar_content, sidecar_path
from SAMFinetuneLogic.imaging.writing import check_label_map_path, write_voxels
from SAMFinetuneLogic.models.catalogue import load_catalogue
from SAMFinetuneLogic.mrml.annotated import annotations_of
from SAMFinetuneLogic.mrml.segment_copy import CopiedSegment, LabelParts, copy_segments
from SAMFinetuneLogic.mrml.segmentation_file import SegmentationFile
from SAMFinetuneLogic.mrml.segments import segment_ids

Format = Literal["nifti", "nifti_files", "seg_nrrd"]

FORMATS: dict[Format, str] = {
    "nifti": "NIfTI, one label map (.nii.gz)",
    "nifti_files": "NIfTI, a file for each segment (.nii.gz)",
    "seg_nrrd": "Slicer segmentation (.seg.nrrd)",
}
"""What can be written, with the text to show."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        paths: the files, sidecars included.
        notice: what the files do not hold, in sentences; or None.
    """

    paths: tuple[Path, ...]
    notice: str | None = None


@dataclass(frozen=True, eq=False)
class LabelMapFile:
    """A NIfTI file to be written.

    Attributes:
        header: of the file.
        parts: its voxels.
        segments: for the sidecar.
    """

    header: bytes
    parts: LabelParts
    segments: tuple[Segment, ...]

    @property
    def count(self) -> int:
        """In how many steps it is written."""
        return self.parts.count

    def write(self, path: Path) -> Generator[int]:
        """Write it; yields how many of the steps are done."""
        return write_voxels(path, self.header, self.parts)


@dataclass(frozen=True, eq=False)
class ExportPlan:
    """Made by :func:`plan_export`. What happens in the scene afterwards changes nothing of it.

    Attributes:
        files: what goes where; the sidecars come beside them.
        segments: for the sidecar of a file that holds all of them.
        provenance: for the sidecars.
        overwrite: whether existing files may be replaced.
    """

    files: dict[Path, LabelMapFile | SegmentationFile]
    segments: tuple[Segment, ...]
    provenance: dict[str, Any]
    overwrite: bool

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, each with its sidecar."""
        return tuple(each for path in self.files for each in (path, sidecar_path(path)))

    @property
    def total(self) -> int:
        """In how many steps all of it is written."""
        return sum(file.count for file in self.files.values())

    def write(self) -> Generator[int]:
        """Write all files: they take their places at the end, all together. Closed before, it leaves nothing behind.

        Yields:
            how many of the steps are done, after each of them.

        Raises:
            OutputError: a file cannot be written; none is there then, and none is replaced.
        """
        done = 0
        with together(self.paths, self.overwrite) as temporary:
            for path, file in self.files.items():
                described = file.segments if isinstance(file, LabelMapFile) else self.segments
                content = sidecar_content(path.name, described, self.provenance)
                with _named(path):
                    temporary[sidecar_path(path)].write_bytes(json_bytes(content))
                    with closing(file.write(temporary[path])) as steps:
                        for _ in steps:
                            done += 1
                            yield done

    def exported(self) -> Exported:
        """For the user, once it is written."""
        overlapping = sum(file.parts.overlapping for file in self.files.values() if isinstance(file, LabelMapFile))
        notice = (
            f"{overlapping} voxels belong to several segments: they went to the later one in the table. "
            f"The other formats keep them all."
        )
        return Exported(self.paths, notice if overlapping else None)


def plan_export(
    work: Work, folder: Path, name: str, kind: Format = "nifti", overwrite: bool = False, model: str = ""
) -> ExportPlan:
    """Take the segments as they are now; see :func:`SAMFinetuneLib.exporting.export` for the arguments and errors."""
    stem = name.strip()
    if not stem or stem != _file_name(stem):
        raise InputError(f"{name!r} cannot be a file's name: use letters, digits, '-', '_' and '.'.")
    node = work.segmentation_node
    facts, copied = provenance(work, model), copy_segments(node)
    described = tuple(each.described for each in copied)
    files: dict[Path, LabelMapFile | SegmentationFile]
    if kind == "seg_nrrd":
        files = {Path(folder) / f"{stem}.seg.nrrd": SegmentationFile(node, copied)}
    elif kind == "nifti":
        files = {Path(folder) / f"{stem}.nii.gz": _label_map(copied, work)}
    else:
        alone = [replace(each, described=replace(each.described, value=1)) for each in copied]
        names = _names(stem, described)
        files = {Path(folder) / each: _label_map((one,), work) for each, one in zip(names, alone, strict=True)}
    for path in files:
        _check(path, kind, overwrite)
    return ExportPlan(files, described, facts, overwrite)


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


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file it was that could not be written: a full disk does not."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error


def _label_map(segments: tuple[CopiedSegment, ...], work: Work) -> LabelMapFile:
    parts = LabelParts(segments, work.segmentation_node, work.volume)
    places = np.broadcast_to(np.zeros((), dtype=parts.dtype), work.volume.shape)
    header = label_map_header(places, work.volume.ijk_to_ras)
    return LabelMapFile(header, parts, tuple(each.described for each in segments))


def _names(stem: str, segments: tuple[Segment, ...]) -> list[str]:
    names: list[str] = []
    for segment in segments:
        base = f"{stem}_{_file_name(segment.name) or 'segment'}"
        name, number = f"{base}.nii.gz", 2
        while name in names:
            name, number = f"{base}_{number}.nii.gz", number + 1
        names.append(name)
    return names


def _check(path: Path, kind: Format, overwrite: bool) -> None:
    if kind != "seg_nrrd":
        check_label_map_path(path, overwrite)
        return
    for existing in (path, sidecar_path(path)):
        if existing.exists() and not overwrite:
            raise OutputError(f"{existing} exists already; choose another name, or allow replacing.")
    check_sidecar(path)


def _file_name(text: str) -> str:
    """A text with nothing that a file system could object to."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._")
