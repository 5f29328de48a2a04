"""What the user draws by hand in the Segment Editor becomes annotated slices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.annotated import mark_annotated, tag_text
from SAMFinetuneLogic.mrml.lattice import Block
from SAMFinetuneLogic.mrml.segments import segment_block, segment_ids

MOST_SLICES = 5
"""An edit that changes more slices than this (smoothing, islands, threshold) is no drawing, and marks none of them."""


@dataclass(frozen=True)
class _Snapshot:
    tag: str
    start: tuple[int, ...]
    shape: tuple[int, ...]
    bits: bytes

    @classmethod
    def of(cls, tag: str, block: Block) -> "_Snapshot":
        start = tuple(int(n) for n in block.start)
        return cls(tag, start, block.voxels.shape, np.packbits(block.voxels).tobytes())

    def block(self) -> Block:
        bits = np.unpackbits(np.frombuffer(self.bits, dtype=np.uint8), count=int(np.prod(self.shape)))
        return Block(bits.reshape(self.shape).view(bool), np.array(self.start))


class HandEdits:
    """Notices on which slices the user has drawn since the last look.

    Writes of :class:`SAMFinetuneLogic.mrml.editing.SegmentWriter` are no drawings, and neither are undo and redo: all
    of them come with another revision in the segment's tag.

    Args:
        segmentation_node: what is edited.
        volume: whose slices are meant.
        working_axis: gives the axis, by being called, where an edit could lie along several, such as a single voxel.

    Example:
        >>> edits = HandEdits(segmentation_node, volume, lambda: "k")
        >>> # the user paints, then, on the segmentation's SourceRepresentationModified event or later:
        >>> edits.collect(selected_segment_id)
        (SliceIndex(axis='k', index=12),)
    """

    def __init__(self, segmentation_node: Any, volume: Volume, working_axis: Callable[[], Axis]) -> None:
        self._node = segmentation_node
        self._volume = volume
        self._working_axis = working_axis
        self._snapshots: dict[str, _Snapshot] = {}
        self.look()

    def look(self) -> None:
        """Take the present state as seen, without marking anything."""
        self._snapshots = {segment_id: self._snapshot(segment_id) for segment_id in segment_ids(self._node)}

    def collect(self, segment_id: str) -> tuple[SliceIndex, ...]:
        """Mark the slices on which the segment was drawn since the last look; returns them, ascending.

        Other segments, from which the same stroke may have taken voxels, are looked at and not marked.
        """
        before = self._snapshots.get(segment_id)
        self.look()
        after = self._snapshots.get(segment_id)
        if after is None or before == after or (before.tag if before else "") != after.tag:
            return ()
        empty = Block(np.zeros((0, 0, 0), dtype=bool), np.zeros(3, dtype=np.int64))
        slices = self._drawn(before.block() if before else empty, after.block())
        if slices:
            mark_annotated(self._node, [segment_id], self._volume, slices)
            self._snapshots[segment_id] = self._snapshot(segment_id)
        return slices

    def _snapshot(self, segment_id: str) -> _Snapshot:
        block = segment_block(self._node, segment_id, self._volume)
        return _Snapshot.of(tag_text(self._node, segment_id), block)

    def _drawn(self, before: Block, after: Block) -> tuple[SliceIndex, ...]:
        """The fewest slices that hold all that changed; none if these are too many."""
        blocks = [block for block in (before, after) if block.voxels.size]
        if not blocks:
            return ()
        start = np.min([block.start for block in blocks], axis=0)
        stop = np.max([block.stop for block in blocks], axis=0)
        changed = before.cut(start, stop).voxels != after.cut(start, stop).voxels
        indices: dict[Axis, np.ndarray] = {}
        for column, axis in enumerate(AXES):
            others = tuple(other for other in range(3) if other != 2 - column)
            indices[axis] = np.flatnonzero(changed.any(axis=others)) + start[column]
        preferred = self._working_axis()
        axis = min(AXES, key=lambda a: (len(indices[a]), a != preferred))
        if len(indices[axis]) > MOST_SLICES:
            return ()
        return tuple(SliceIndex(axis, int(index)) for index in indices[axis])
