"""Segmentations into ``.seg.nrrd`` files in steps: Slicer's own writer does it in one go, and all else waits for it.

What is known of the segments (colours, terminology, whatever this release of Slicer keeps) comes from Slicer's writer
all the same: it writes a copy whose segments have shrunk to a voxel each. The fields of that file are taken over, those
that say where the labels are put right, and the layers of labels follow, compressed part by part.

Format: https://teem.sourceforge.net/nrrd/format.html; for the fields see
:mod:`SAMFinetuneLogic.imaging.slicer_segmentation`.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.imaging.writing import write_voxels
from SAMFinetuneLogic.mrml.images import image_to_world, oriented_image
from SAMFinetuneLogic.mrml.lattice import Block, renumber_block, shifted
from SAMFinetuneLogic.mrml.segment_copy import MOVED, STEP_VOXELS, CopiedSegment
from SAMFinetuneLogic.mrml.segments import Labelmap, binary_labelmap, reference_image

_TYPES = {"u1": "unsigned char", "i1": "signed char", "u2": "unsigned short", "i2": "short", "i4": "int"}
_MAX_VALUE = 255


class SegmentationFile:
    """A segmentation as it is at one moment; its node may change or go away afterwards.

    Args:
        segments: copied from the node, see :func:`SAMFinetuneLogic.mrml.segment_copy.copy_segments`.

    Attributes:
        count: in how many steps it is written. It is a single one where nothing is drawn, or with labels that no
            file of this kind holds otherwise.
    """

    def __init__(self, segmentation_node: Any, segments: tuple[CopiedSegment, ...]) -> None:
        self._layers = _layers_of(segments, reference_image(segmentation_node))
        source = segmentation_node.GetSegmentation()
        copied = slicer.vtkSegmentation()
        if self._layers is None:
            copied.DeepCopy(source)
        else:
            _shrink(source, copied, segments, self._layers)
        self.count = 1 if self._layers is None else self._layers.count
        converter = slicer.vtkSegmentationConverter
        names = (binary_labelmap(), converter.GetClosedSurfaceRepresentationName())
        # Slicer makes the others anew when it reads the file.
        self._contained = "".join(f"{name}|" for name in names if source.ContainsRepresentation(name))
        self._node = slicer.vtkMRMLSegmentationNode()
        self._node.SetAndObserveSegmentation(copied)

    def write(self, path: Path) -> Generator[int]:
        """Write a file whose name ends in ``.seg.nrrd``.

        Yields:
            how many of the steps are done, after each of them.

        Raises:
            OutputError: Slicer cannot write there.
        """
        self._write_by_slicer(path, compressed=self._layers is None)
        if self._layers is None:
            yield 1
        else:
            header = _header(path.read_bytes(), self._layers, self._contained)
            yield from write_voxels(path, b"", self._layers.parts(), plain=header)

    def _write_by_slicer(self, path: Path, compressed: bool) -> None:
        storage = slicer.vtkMRMLSegmentationStorageNode()  # not the node's own: its file stays what it is
        storage.SetFileName(str(path))
        storage.SetUseCompression(compressed)
        storage.SetCropToMinimumExtent(self._layers is not None)
        if not storage.WriteData(self._node):
            raise OutputError(f"Slicer could not write {path}: look into its error log, and at the free space.")


@dataclass(frozen=True, eq=False)
class _Layer:
    """Segments that share their voxels.

    Attributes:
        labelmap: of one of the segments.
        block: the voxels, numbered as in the file; None where they lie on another grid.
        start, stop: (i, j, k) of the part of the file's grid that they reach.
    """

    labelmap: Labelmap
    block: Block | None
    start: np.ndarray
    stop: np.ndarray

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.labelmap.values.voxels.dtype

    def cut(self, matrix: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """The labels (k, j, i) on a part of the grid ``matrix``, each voxel that of the nearest one."""
        if self.block is not None:
            return self.block.cut(start, stop).voxels
        return self.labelmap.values_on_grid(matrix, start, stop).voxels


@dataclass(frozen=True, eq=False)
class _Layers:
    """The layers of labels on one grid.

    Attributes:
        layers: one or several.
        start, stop: (i, j, k) of what the file holds, in the grid of ``matrix``.
        places: by segment ID, the number of its layer and its value there.
    """

    layers: tuple[_Layer, ...]
    start: np.ndarray
    stop: np.ndarray
    matrix: np.ndarray
    places: dict[str, tuple[int, int]]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*(layer.dtype for layer in self.layers))

    @property
    def count(self) -> int:
        return -(-int(self.stop[2] - self.start[2]) // self._step)

    @property
    def _step(self) -> int:
        size = self.stop - self.start
        work = sum(1 if layer.block is not None else MOVED for layer in self.layers)
        return max(1, STEP_VOXELS // int(size[0] * size[1] * work))

    def parts(self) -> Iterator[np.ndarray]:
        """Some slices at a time, (k, j, i, layer)."""
        for first in range(int(self.start[2]), int(self.stop[2]), self._step):
            start, stop = self.start.copy(), self.stop.copy()
            start[2], stop[2] = first, min(first + self._step, self.stop[2])
            cut = [layer.cut(self.matrix, start, stop) for layer in self.layers]
            yield np.stack(cut, axis=-1).astype(self.dtype, copy=False)


def _layers_of(segments: tuple[CopiedSegment, ...], reference: Any | None) -> _Layers | None:
    """The whole reference grid is written, as Slicer does. None where the layers cannot be put side by side on it."""
    shared: list[Labelmap] = []
    places = {}
    for each in segments:
        if each.labelmap is not None:
            values = each.labelmap.values
            number = next((n for n, one in enumerate(shared) if one.values is values), len(shared))
            if number == len(shared):
                shared.append(each.labelmap)
            places[each.id] = number, each.labelmap.value
    if not shared or reference is None:
        return None
    matrix = image_to_world(reference)
    layers = tuple(_layer(labelmap, matrix) for labelmap in shared)
    taken = {value for number, value in places.values() if number == 0}
    free = (value for value in range(1, _MAX_VALUE + 1) if value not in taken)
    for each in segments:
        if each.labelmap is None:  # nothing in the file is its own
            value = next(free, None)
            if value is None:
                return None
            places[each.id] = 0, value
    extent = np.array(reference.GetExtent())
    start = np.min([extent[::2], *(layer.start for layer in layers)], axis=0)
    stop = np.max([extent[1::2] + 1, *(layer.stop for layer in layers)], axis=0)
    side_by_side = _Layers(layers, start, stop, matrix, places)
    return side_by_side if side_by_side.dtype.str[1:] in _TYPES else None


def _layer(labelmap: Labelmap, matrix: np.ndarray) -> _Layer:
    start, stop = labelmap.extent_on(matrix)
    return _Layer(labelmap, renumber_block(labelmap.values, labelmap.matrix, matrix), start, stop)


def _shrink(source: Any, target: Any, segments: tuple[CopiedSegment, ...], layers: _Layers) -> None:
    target.SetSourceRepresentationName(source.GetSourceRepresentationName())
    target.CopyConversionParameters(source)
    for each in segments:
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(source.GetSegment(each.id))
        voxel = oriented_image(np.ones((1, 1, 1), dtype=np.uint8), layers.matrix, layers.start)
        segment.SetLabelValue(1)
        segment.AddRepresentation(binary_labelmap(), voxel)
        target.AddSegment(segment, each.id)


def _header(written: bytes, layers: _Layers, contained: str) -> bytes:
    """The header of the shrunken file, for the whole one."""
    text = written[: written.index(b"\n\n")].decode("utf-8")
    fields = [line for line in text.splitlines() if ":=" in line]
    ids = {match[1]: match[2] for line in fields if (match := re.fullmatch(r"(Segment\d+)_ID:=(.*)", line))}
    size = layers.stop - layers.start
    known = {
        "Segmentation_ReferenceImageExtentOffset": " ".join(map(str, layers.start)),
        "Segmentation_ContainedRepresentationNames": contained,
    }
    for prefix, segment_id in ids.items():
        number, value = layers.places[segment_id]
        known[f"{prefix}_Extent"] = " ".join(f"0 {last}" for last in size - 1)
        known[f"{prefix}_Layer"], known[f"{prefix}_LabelValue"] = str(number), str(value)
    for number, line in enumerate(fields):
        name = line.partition(":=")[0]
        fields[number] = f"{name}:={known[name]}" if name in known else line
    return "\n".join(["NRRD0004", *_geometry(layers), *fields]).encode("utf-8") + b"\n\n"


def _geometry(layers: _Layers) -> list[str]:
    several, dtype = len(layers.layers) > 1, layers.dtype
    size = [str(count) for count in layers.stop - layers.start]
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ shifted(layers.matrix, layers.start)
    vectors = ["(" + ",".join(f"{part:.17g}" for part in to_lps[:3, column]) + ")" for column in range(4)]
    lines = [
        f"type: {_TYPES[dtype.str[1:]]}",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        "sizes: " + " ".join([str(len(layers.layers)), *size] if several else size),
        "space directions: " + " ".join(["none", *vectors[:3]] if several else vectors[:3]),
        "kinds: " + " ".join(["list"] * several + ["domain"] * 3),
        "encoding: gzip",
        f"space origin: {vectors[3]}",
    ]
    return lines if dtype.itemsize == 1 else [*lines, "endian: little"]
