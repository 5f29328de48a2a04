"""Segmentations that 3D Slicer has saved as ``.seg.nrrd``.

Slicer writes the segments into as few layers as possible: segments that overlap lie in different layers, and the
layers are the components of one NRRD image. Each segment ``n`` has fields ``Segment<n>_Name``, ``_Color``,
``_LabelValue`` and ``_Layer``. Files from before Slicer 4.11 have neither of the last two: there, each segment is a
layer of its own with the value 1. ``Segmentation_ReferenceImageExtentOffset`` says where the saved (cropped)
block began in the segmentation's reference grid; the origin in the header is that of the saved block already, so
the geometry is complete without it.
"""

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment, segment_color
from SAMFinetuneLogic.imaging.sitk_images import existing_path, ijk_to_ras_of, open_reader, read_pixels

_SUFFIXES = (".nrrd", ".nhdr")
_REPRESENTATIONS = ("Segmentation_MasterRepresentation", "Segmentation_SourceRepresentation")


def is_slicer_segmentation(path: Path) -> bool:
    """Whether ``path`` is a NRRD file with Slicer's segment fields, whatever its name."""
    return path.is_file() and path.suffix.lower() in _SUFFIXES and bool(_segment_numbers(open_reader(path)))


def read_slicer_segmentation(path: Path) -> list[LabelMap]:
    """Read a ``.seg.nrrd``: one label map for each layer; overlapping segments lie in different ones.

    A NRRD label map without segment fields gives one label map with default names.

    Raises:
        InputError: the file is missing or damaged, or holds no labels.
    """
    path = existing_path(path)
    reader = open_reader(path)
    image = read_pixels(reader, path)
    if image.GetDimension() != 3:
        raise InputError(f"{path} is not a segmentation of a volume; it has {image.GetDimension()} dimensions.")
    if any(reader.GetMetaData(key).startswith("Fractional") for key in _REPRESENTATIONS if reader.HasMetaDataKey(key)):
        raise InputError(f"{path} holds fractions instead of labels; convert it to a binary labelmap in Slicer.")
    voxels = sitk.GetArrayFromImage(image)
    layers = voxels.reshape(*voxels.shape[:3], -1)
    segments = _segments_by_layer(reader, layers.shape[3], path)
    ijk_to_ras = ijk_to_ras_of(image)
    try:
        return [
            LabelMap(np.ascontiguousarray(layers[..., layer]), ijk_to_ras, tuple(segments[layer]), name=path.name)
            for layer in range(layers.shape[3])
        ]
    except (GeometryError, InputError) as error:
        raise InputError(f"{path} is not a segmentation: {error}") from error


def _segment_numbers(reader: sitk.ImageFileReader) -> list[int]:
    names = (re.fullmatch(r"Segment(\d+)_ID", key) for key in reader.GetMetaDataKeys())
    return sorted(int(name[1]) for name in names if name)


def _segments_by_layer(reader: sitk.ImageFileReader, layer_count: int, path: Path) -> list[list[Segment]]:
    layers: list[list[Segment]] = [[] for _ in range(layer_count)]
    for position, number in enumerate(_segment_numbers(reader)):
        prefix = f"Segment{number}_"
        has_layers = reader.HasMetaDataKey(prefix + "LabelValue")
        try:
            value = int(reader.GetMetaData(prefix + "LabelValue")) if has_layers else 1
            layer = int(reader.GetMetaData(prefix + "Layer")) if has_layers else position
            layers[layer].append(Segment(value, _name(reader, prefix), _color(reader, prefix, position)))
        except (ValueError, IndexError, RuntimeError) as error:
            raise InputError(f"The fields of segment {number} in {path} are damaged; save it again.") from error
    return layers


def _name(reader: sitk.ImageFileReader, prefix: str) -> str:
    key = prefix + "Name" if reader.HasMetaDataKey(prefix + "Name") else prefix + "ID"
    return reader.GetMetaData(key)


def _color(reader: sitk.ImageFileReader, prefix: str, position: int) -> tuple[float, float, float]:
    if not reader.HasMetaDataKey(prefix + "Color"):
        return segment_color(position)
    red, green, blue = (min(max(float(part), 0.0), 1.0) for part in reader.GetMetaData(prefix + "Color").split())
    return red, green, blue
