"""A DICOM series folder as one image. Of the header, only the geometry, the modality and the order are looked at."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.dicom_damage import check_none_left_out
from SAMFinetuneLogic.imaging.geometry import LPS_RAS
from SAMFinetuneLogic.imaging.native import quiet_native_code
from SAMFinetuneLogic.imaging.sitk_images import ijk_to_ras_of, native_name, open_reader, read_pixels

MODALITY = "0008|0060"
# What tells images at one position apart, in this order: temporal position, echo, acquisition, instance.
_ORDER_TAGS = ("0020|0100", "0018|0086", "0020|0012", "0020|0013")
_SAME_POSITION = 0.01  # mm along the normal
_GRID_TOLERANCE = 0.1  # of the distance between slices, or of a pixel


@dataclass(frozen=True)
class _File:
    path: Path
    reader: sitk.ImageFileReader
    ijk_to_lps: np.ndarray
    order: tuple[float, ...]


def modality_of(reader: sitk.ImageFileReader) -> str | None:
    """The DICOM modality code in a header, or None."""
    if not reader.HasMetaDataKey(MODALITY):
        return None
    return reader.GetMetaData(MODALITY).strip().upper() or None


def choose_series(folder: Path, series: str | None) -> list[Path]:
    """The files of the only series in ``folder``, or of the one whose UID is ``series``.

    Raises:
        InputError: no DICOM images, several series and none chosen (they are listed), no such series, or a damaged
            file that may belong to it.
    """
    name = native_name(folder)
    with quiet_native_code():
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(name)
        files = {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(name, uid) for uid in uids}
    if not files:
        raise InputError(
            f"{folder} holds no DICOM images; give the folder that holds the files themselves (sub-folders are not "
            f"searched)."
        )
    if series is None:
        if len(files) > 1:
            raise InputError(
                f"{folder} holds several series; choose one by --series, or move the others away: {_list_of(files)}."
            )
        (series,) = files
    elif series not in files:
        raise InputError(f"{folder} has no series {series}; choose one of {_list_of(files)}.")
    chosen = [Path(name) for name in files[series]]
    check_none_left_out(folder, chosen, (Path(name) for names in files.values() for name in names))
    return chosen


def read_series(paths: list[Path], frame: int | None) -> tuple[np.ndarray, np.ndarray, str | None, int]:
    """Stack the single-slice files of a series.

    Args:
        frame: which image to take where several share a position (time points, echoes), counted from 0 in the
            order of temporal position, echo, acquisition and instance number.

    Returns:
        Voxels (k, j, i) or (k, j, i, components) with each file's rescale slope applied, IJK-to-RAS (4, 4),
        modality, number of components.

    Raises:
        InputError: slices that make no regular grid, a frame needed and not given, or the reverse.
    """
    files = [_read_header(path) for path in paths]
    first = files[0]
    where = first.path.parent
    if any(file.reader.GetSize() != first.reader.GetSize() for file in files) or first.reader.GetSize()[2] != 1:
        raise InputError(f"The images of the series in {where} differ in size; move those apart that do not belong.")
    if any(np.abs(file.ijk_to_lps[:3, :3] - first.ijk_to_lps[:3, :3]).max() > 1e-3 for file in files):
        raise InputError(f"The images of the series in {where} differ in direction; move the localisers apart.")
    chosen = _one_per_position(files, frame, where)
    ijk_to_lps = _stack_geometry(chosen, where)
    arrays = [sitk.GetArrayFromImage(read_pixels(file.reader, file.path))[0] for file in chosen]
    # Rescale slopes may differ from slice to slice (PET), and with them the type of the numbers.
    voxels = np.stack(arrays).astype(np.result_type(*arrays), copy=False)
    return voxels, LPS_RAS @ ijk_to_lps, modality_of(chosen[0].reader), first.reader.GetNumberOfComponents()


def _read_header(path: Path) -> _File:
    reader = open_reader(path)
    return _File(path, reader, LPS_RAS @ ijk_to_ras_of(reader), tuple(_number(reader, tag) for tag in _ORDER_TAGS))


def _number(reader: sitk.ImageFileReader, tag: str) -> float:
    try:
        return float(reader.GetMetaData(tag)) if reader.HasMetaDataKey(tag) else 0.0
    except ValueError:
        return 0.0


def _one_per_position(files: list[_File], frame: int | None, where: Path) -> list[_File]:
    """One file for each position along the normal, in ascending order."""
    normal = files[0].ijk_to_lps[:3, 2] / np.linalg.norm(files[0].ijk_to_lps[:3, 2])
    ordered = sorted(files, key=lambda file: float(file.ijk_to_lps[:3, 3] @ normal))
    groups: list[list[_File]] = []
    for file in ordered:
        if groups and abs((file.ijk_to_lps[:3, 3] - groups[-1][0].ijk_to_lps[:3, 3]) @ normal) < _SAME_POSITION:
            groups[-1].append(file)
        else:
            groups.append([file])
    counts = Counter(len(group) for group in groups)
    if len(counts) > 1:
        raise InputError(
            f"Some positions of the series in {where} have more images than others; move those that do not belong."
        )
    (count,) = counts
    if count == 1:
        if frame is not None:
            raise InputError(f"The series in {where} is one volume; leave the choice of a frame out.")
        return [group[0] for group in groups]
    if frame is None or not 0 <= frame < count:
        raise InputError(
            f"The series in {where} has {count} images at each position; choose one by --frame, 0 to {count - 1}, or "
            f"move the others away."
        )
    return [sorted(group, key=lambda file: file.order)[frame] for group in groups]


def _stack_geometry(files: list[_File], where: Path) -> np.ndarray:
    """IJK-to-LPS (4, 4) of the stack.

    Raises:
        InputError: slices missing, unevenly spaced, or shifted sideways (a tilted gantry).
    """
    ijk_to_lps = files[0].ijk_to_lps.copy()
    if len(files) == 1:
        return ijk_to_lps
    origins = np.array([file.ijk_to_lps[:3, 3] for file in files])
    step = (origins[-1] - origins[0]) / (len(files) - 1)
    deviation = np.abs(origins - origins[0] - np.arange(len(files))[:, None] * step).max()
    if deviation > _GRID_TOLERANCE * np.linalg.norm(step):
        raise InputError(f"The series in {where} has missing or unevenly spaced slices; complete or resample it first.")
    normal = ijk_to_lps[:3, 2] / np.linalg.norm(ijk_to_lps[:3, 2])
    sideways = np.linalg.norm(origins[-1] - origins[0] - ((origins[-1] - origins[0]) @ normal) * normal)
    if sideways > _GRID_TOLERANCE * np.linalg.norm(ijk_to_lps[:3, :2], axis=0).min():
        raise InputError(f"The series in {where} was taken with a tilted gantry; resample it to straight axes first.")
    ijk_to_lps[:3, 2] = (step @ normal) * normal
    return ijk_to_lps


def _list_of(files: dict[str, tuple[str, ...]]) -> str:
    listed = []
    for uid, names in files.items():
        modality = modality_of(open_reader(Path(names[0]))) or "unknown modality"
        shown = uid or '""'  # as it is to be typed
        listed.append(f"{shown} ({modality}, {len(names)} files)")
    return ", ".join(listed)
