"""Images and label maps from files."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.files import full_suffix
from SAMFinetuneLogic.imaging.dicom import choose_series, modality_of, read_series
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.sidecar import read_sidecar
from SAMFinetuneLogic.imaging.sitk_images import existing_path, ijk_to_ras_of, open_reader, read_pixels
from SAMFinetuneLogic.imaging.slicer_segmentation import is_slicer_segmentation, read_slicer_segmentation
from SAMFinetuneLogic.imaging.volume import Volume

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def read_image(
    path: Path, *, component: int | None = None, frame: int | None = None, series: str | None = None
) -> Volume:
    """Read NIfTI, NRRD, MHA, GIPL, PNG, JPEG, TIFF, a DICOM file, or a folder with a DICOM series.

    A 2D image becomes a volume of one slice (k = 1), a picture with several pages a volume with as many. RGB(A)
    pictures and DICOM images with 8 bits a channel become colour volumes (k, j, i, 3); transparency is dropped and
    a palette resolved. The rescale slope and intercept of the file are applied. Of DICOM headers, the modality is
    kept, and nothing about the patient.

    A NIfTI file whose qform and sform disagree is read as SimpleITK and 3D Slicer read it.

    Args:
        component: which component of a vector image, counted from 0 (also: one channel of a colour image).
        frame: which frame of a 4D image or of a DICOM series with several images at each position, from 0.
        series: UID of the DICOM series, where a folder holds several.

    Raises:
        InputError: the file is missing, damaged or of an unsupported kind; a choice is needed and not given, out
            of range, or given where there is nothing to choose.
    """
    path = existing_path(path)
    if not path.is_dir():
        if series is not None:
            raise InputError(f"{path} is a single file; a series can be chosen in a folder of DICOM files only.")
        return _read_file(path, component, frame)
    paths = choose_series(path, series)
    if len(paths) == 1:
        single = _read_file(paths[0], component, frame)
        return Volume(single.voxels, single.ijk_to_ras, single.modality, path.name)
    voxels, ijk_to_ras, modality, components = read_series(paths, frame)
    chosen = _choose_component(voxels, components, component, may_be_color=True, path=path)
    return _volume(chosen, ijk_to_ras, modality, path)


def read_label_map(path: Path) -> LabelMap:
    """Read a label map of whole numbers from 0 to 65535.

    Names and colours come from the JSON sidecar or from the header of a Slicer ``.seg.nrrd``; labels without get
    defaults.

    Raises:
        InputError: as :func:`read_image`; values that are no labels; or a segmentation whose segments overlap.
    """
    path = existing_path(path)
    if is_slicer_segmentation(path):
        layers = read_slicer_segmentation(path)
        if len(layers) > 1:
            raise InputError(f"The segments of {path} overlap, in {len(layers)} layers; export them one file a layer.")
        return layers[0]
    image = _only_volume(path)
    voxels = image.voxels
    if image.is_color:
        if (voxels != voxels[..., :1]).any():
            raise InputError(f"{path} is a colour picture, not a label map; save the labels as gray values.")
        voxels = voxels[..., 0]  # gray values, as many tools save them
    segments = () if path.is_dir() else read_sidecar(path)
    try:
        return LabelMap(voxels, image.ijk_to_ras, segments, name=path.name)
    except InputError as error:
        raise InputError(f"{path} is not a label map: {error}") from error


def _only_volume(path: Path) -> Volume:
    """The labels in ``path``, where nothing can be chosen."""
    if not path.is_dir():
        reader = open_reader(path)
        frames = _frame_count(reader, path)
        if frames is not None and frames > 1:
            raise InputError(f"{path} has {frames} frames; save the label map of one of them and give that.")
    return read_image(path)


def _read_file(path: Path, component: int | None, frame: int | None) -> Volume:
    reader = open_reader(path)
    frames = _frame_count(reader, path)
    if frames is None and frame is not None:
        raise InputError(f"{path} has no frames; leave the choice of a frame out.")
    if frames == 1 and frame is None:
        frame = 0
    if frames is not None and (frame is None or not 0 <= frame < frames):
        raise InputError(
            f"{path} has {frames} frames; choose one by --frame, 0 to {frames - 1}, or save it as an image of its own."
        )
    image = read_pixels(reader, path, frame)
    voxels = sitk.GetArrayFromImage(image)
    components = image.GetNumberOfComponentsPerPixel()
    if components == 1:  # SimpleITK may give vectors of one component
        voxels = voxels.reshape(image.GetSize()[::-1])
    if image.GetDimension() == 2:
        voxels = voxels[np.newaxis]
    modality = modality_of(reader)
    may_be_color = voxels.shape[0] == 1 or modality is not None or full_suffix(path).lower() in _PICTURES
    chosen = _choose_component(voxels, components, component, may_be_color, path)
    return _volume(chosen, ijk_to_ras_of(image), modality, path)


def _frame_count(reader: sitk.ImageFileReader, path: Path) -> int | None:
    """Size of the fourth axis; None for a 2D or 3D image."""
    size = reader.GetSize()
    if len(size) > 4:
        raise InputError(f"{path} has {len(size)} dimensions; save one 3D volume of it.")
    return size[3] if len(size) == 4 else None


def _choose_component(
    voxels: np.ndarray, components: int, component: int | None, may_be_color: bool, path: Path
) -> np.ndarray:
    if components == 1:
        if component is not None:
            raise InputError(f"{path} has no components; leave the choice of a component out.")
        return voxels
    if component is not None and 0 <= component < components:
        return np.ascontiguousarray(voxels[..., component])
    if component is None and may_be_color and components in (3, 4) and voxels.dtype == np.uint8:
        return np.ascontiguousarray(voxels[..., :3])
    raise InputError(
        f"{path} has {components} components of {voxels.dtype} in each voxel; choose one by --component, "
        f"0 to {components - 1}, or save it as an image of its own."
    )


def _volume(voxels: np.ndarray, ijk_to_ras: np.ndarray, modality: str | None, path: Path) -> Volume:
    try:
        return Volume(voxels, ijk_to_ras, modality, path.name)
    except GeometryError as error:
        raise InputError(f"{path} cannot be used: {error}") from error
