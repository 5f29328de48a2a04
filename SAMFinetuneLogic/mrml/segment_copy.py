"""Segments as they are at one moment, to be written to files in steps while the user goes on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.geometry import inverse_affine
from SAMFinetuneLogic.imaging.labels import MAX_LABEL, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.lattice import Block
from SAMFinetuneLogic.mrml.matrices import parent_to_world
from SAMFinetuneLogic.mrml.segments import Labelmap, describe, labelmap_of, segment_ids, set_label

STEP_VOXELS = 1 << 21
"""So many voxels of a label map are made and compressed within a few hundredths of a second."""

MOVED = 8
"""How much longer it takes where they come from another grid."""


@dataclass(frozen=True, eq=False)
class CopiedSegment:
    """One segment.

    Attributes:
        id: in its segmentation.
        described: name and colour; the values are 1, 2, 3, ... in the order of the segment table.
        labelmap: with voxels of its own, which segments of one layer share; None for an empty segment.
    """

    id: str
    described: Segment
    labelmap: Labelmap | None


def copy_segments(segmentation_node: Any) -> tuple[CopiedSegment, ...]:
    """All segments, in the order of the segment table; each layer of labels is copied once.

    Raises:
        InputError: there are none, or they are surfaces only.
    """
    ids = segment_ids(segmentation_node)
    if not ids:
        raise InputError(f"{segmentation_node.GetName()} has no segments: add one first.")
    if len(ids) > MAX_LABEL:
        raise InputError(f"A label map holds {MAX_LABEL} segments at most: choose fewer of them.")
    layers: dict[int, Block] = {}
    copied = []
    for value, segment_id in enumerate(ids, start=1):
        labelmap = labelmap_of(segmentation_node, segment_id)
        if labelmap is not None:
            if labelmap.layer not in layers:
                layers[labelmap.layer] = Block(labelmap.values.voxels.copy(), labelmap.values.start.copy())
            labelmap = replace(labelmap, values=layers[labelmap.layer])
        copied.append(CopiedSegment(segment_id, describe(segmentation_node, segment_id, value), labelmap))
    return tuple(copied)


class LabelParts:
    """The label map of copied segments on a volume's grid, in parts of some slices along k.

    Args:
        segments: the later one has the voxel where they overlap.
        segmentation_node: where they were copied from; asked for its parent transform only.

    Attributes:
        dtype: of the parts, uint8 or uint16.
        count: how many parts there are.
        overlapping: voxels of several segments, in the parts that were made so far.

    Raises:
        GeometryError: the segmentation is under a non-linear transform.
    """

    def __init__(self, segments: tuple[CopiedSegment, ...], segmentation_node: Any, volume: Volume) -> None:
        self.overlapping = 0
        self.dtype = np.dtype(np.uint8 if max(each.described.value for each in segments) < 256 else np.uint16)
        self._segments, self._shape = segments, volume.shape
        self._target = inverse_affine(parent_to_world(segmentation_node)) @ volume.ijk_to_ras
        labelmaps = [each.labelmap for each in segments if each.labelmap is not None]
        # Layers on another grid, which are brought over as a whole, not segment by segment.
        self._askew = {id(each.values) for each in labelmaps if not each.lies_on(self._target)}
        work = max(1, MOVED * len(self._askew))
        self._step = max(1, STEP_VOXELS // (self._shape[1] * self._shape[2] * work))
        self.count = -(-self._shape[0] // self._step)

    def __iter__(self) -> Iterator[np.ndarray]:
        self.overlapping = 0
        slices, rows, cols = self._shape
        for first in range(0, slices, self._step):
            start = np.array([0, 0, first])
            stop = np.array([cols, rows, min(first + self._step, slices)])
            part = np.zeros(tuple((stop - start)[::-1]), dtype=self.dtype)
            moved: dict[int, np.ndarray] = {}
            for each in self._segments:
                if each.labelmap is not None:
                    mask = self._mask(each.labelmap, start, stop, moved)
                    self.overlapping += set_label(part, mask, each.described.value)
            yield part

    def _mask(
        self, labelmap: Labelmap, start: np.ndarray, stop: np.ndarray, moved: dict[int, np.ndarray]
    ) -> np.ndarray:
        layer = id(labelmap.values)
        if layer not in self._askew:
            return labelmap.on_grid(self._target, start, stop).voxels
        if layer not in moved:
            moved[layer] = labelmap.values_on_grid(self._target, start, stop).voxels
        found: np.ndarray = moved[layer] == labelmap.value
        return found
