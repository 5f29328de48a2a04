"""Masks into segments, by the rules of Slicer's Segment Editor.

All writes go through ``vtkSlicerSegmentEditorLogic`` with the settings of a segment editor node: editable area,
editable intensity range, overwrite mode. A write touches the bounding box of what changes, and is one step of undo.

Masks are added and removed in two calls, not "set": in that mode the editor logic erases the segment everywhere first.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex, array_axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.annotated import annotations_of, mark_annotated, touch, unmark_annotated
from SAMFinetuneLogic.mrml.edit_grid import bring_onto
from SAMFinetuneLogic.mrml.images import oriented_image
from SAMFinetuneLogic.mrml.lattice import Block, move_block
from SAMFinetuneLogic.mrml.matrices import parent_to_world
from SAMFinetuneLogic.mrml.rendering import paused_rendering
from SAMFinetuneLogic.mrml.segments import (
    binary_labelmap,
    edit_matrix,
    get_segment,
    labelmap_of,
    segment_ids,
    segments_within,
    set_reference_geometry,
)

UNDO_LEVELS = 10
"""How many writes can be taken back."""

STEP_SLICES = 8
"""So many slices of 512 x 512 pixels are written within a few hundredths of a second."""

SliceMasks = Mapping[int, np.ndarray]
"""Masks (rows, cols) by the index of their slice."""


@dataclass(frozen=True)
class Written:
    """What a write did.

    Attributes:
        changed: how many voxels of the segments are other than before.
        refused: how many of those asked for are as before, because the masking settings protect them.
        notice: a sentence for the user, or None.
        saved: whether the state before it was kept for undo: it is not where nothing was to be changed.
    """

    changed: int
    refused: int
    notice: str | None
    saved: bool


class SegmentWriter:
    """Writes masks of a volume's slices into the segments of a segmentation node.

    Args:
        segmentation_node: its grid may be another one than the volume's; masks then go to the nearest voxels.
        volume_node: the source volume of the editor, if it has none yet.
        volume: what :func:`SAMFinetuneLogic.mrml.volumes.read_volume` made of that node.
        editor_node: the ``vtkMRMLSegmentEditorNode`` with the settings to obey: in the user interface that of the
            Segment Editor widget. None for one of its own, which is not saved with the scene.
        save_state: called before each write: in the user interface the widget's ``saveStateForUndo``, which then
            also undoes. None for an undo stack of its own, see :meth:`undo`.

    Example:
        >>> writer = SegmentWriter(segmentation_node, volume_node, read_volume(volume_node).volume)
        >>> writer.write_slice(segment_id, SliceIndex("k", 12), mask)
        >>> writer.undo()
    """

    def __init__(
        self,
        segmentation_node: Any,
        volume_node: Any,
        volume: Volume,
        editor_node: Any = None,
        save_state: Callable[[], Any] | None = None,
    ) -> None:
        scene = segmentation_node.GetScene()
        self.segmentation_node = segmentation_node
        self.volume = volume
        self._owns_editor = editor_node is None
        self.editor_node = _new_editor(scene) if editor_node is None else editor_node
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetSegmentEditorNode(self.editor_node)
        if self.editor_node.GetSegmentationNode() is not segmentation_node:
            self._logic.SetSegmentationNode(segmentation_node)
        if self.editor_node.GetSourceVolumeNode() is None:
            self._logic.SetSourceVolumeNode(volume_node)
        # One more: the history holds the present state too, once something has been undone.
        self._logic.SetMaximumNumberOfUndoStates(UNDO_LEVELS + 1)
        self._save_state = save_state or self._logic.SaveStateForUndo
        if edit_matrix(segmentation_node) is None:
            set_reference_geometry(segmentation_node, volume_node, volume)

    def write_slice(
        self, segment_id: str, slice_index: SliceIndex, mask: np.ndarray, annotated: bool = True
    ) -> Written:
        """Make ``mask`` (rows, cols) the segment's content on one slice; one step of undo.

        Args:
            annotated: whether the user has drawn or confirmed it.

        Raises:
            InputError: there is no such segment, or the mask has another shape than the slice.
            GeometryError: the slice lies outside of the volume, or a non-linear transform is in the way.
        """
        return self.write_slices({segment_id: {slice_index.index: mask}}, slice_index.axis, annotated)

    def write_slices(self, masks: Mapping[str, SliceMasks], axis: Axis, annotated: bool = False) -> Written:
        """Make masks the content of slices along ``axis``, for one or several segments; one step of undo.

        Where two of the segments are given the same voxel, the overwrite mode decides: with "none" both have it, else
        the later one.

        Args:
            masks: by segment ID and slice index. Slices that are not named stay as they are.
            annotated: whether the user has drawn or confirmed them. If not, what they change is annotated no longer.

        Raises:
            InputError, GeometryError: as :meth:`write_slice`. Nothing has been written then.
        """
        return self._write(masks, axis, annotated, self._save_state)

    def write_in_steps(
        self, masks: Mapping[str, SliceMasks], axis: Axis, annotated: bool = False, count: int = STEP_SLICES
    ) -> Iterator[tuple[int, int, Written]]:
        """As :meth:`write_slices`, ``count`` slices at a time, for user interfaces that must not stand still.

        All of it is one step of undo. Stopping early leaves what has been written until then. With masking settings,
        the editor logic looks at the whole volume in each step: larger steps are then faster.

        Yields:
            how many slices are done, of how many, and what they did, all together.

        Raises:
            InputError, GeometryError: as :meth:`write_slice`. Nothing has been written then.
        """
        for segment_id, by_slice in masks.items():
            self._check(segment_id, axis, by_slice)
        # By slices, and on each in the order of the segments.
        pairs = [(index, segment_id) for segment_id, by_slice in masks.items() for index in by_slice]
        order = sorted(pairs, key=lambda pair: pair[0])
        unsaved = [self._save_state]
        done = _written(0, 0, False)
        for first in range(0, len(order), count):
            part: dict[str, dict[int, np.ndarray]] = {}
            for index, segment_id in order[first : first + count]:
                part.setdefault(segment_id, {})[index] = masks[segment_id][index]
            written = self._write(part, axis, annotated, lambda: unsaved.pop()() if unsaved else None)
            done = _written(done.changed + written.changed, done.refused + written.refused, not unsaved)
            yield min(first + count, len(order)), len(order), done

    # Undo: of writes through this object's own stack only

    @property
    def can_undo(self) -> bool:
        """Whether there is a write to be taken back."""
        return bool(self._logic.CanUndo())

    @property
    def can_redo(self) -> bool:
        """Whether there is a write to be done again."""
        return bool(self._logic.CanRedo())

    def undo(self) -> None:
        """Take back the last write, with the annotation marks that came with it."""
        self._logic.Undo()

    def redo(self) -> None:
        """Do again what was undone last."""
        self._logic.Redo()

    def close(self) -> None:
        """Let go of the scene: remove the editor node if it was this object's own."""
        self._logic.SetSegmentEditorNode(None)
        if self._owns_editor and self.editor_node.GetScene() is not None:
            self.editor_node.GetScene().RemoveNode(self.editor_node)

    # How it is done

    def _write(
        self, masks: Mapping[str, SliceMasks], axis: Axis, annotated: bool, save_state: Callable[[], Any]
    ) -> Written:
        plans = [(segment_id, *self._plan(segment_id, axis, by_slice)) for segment_id, by_slice in masks.items()]
        changing = [(segment_id, added, removed) for segment_id, added, removed in plans if added or removed]
        asked = changed = 0
        touched: set[str] = set()
        if changing:
            save_state()
            touched |= bring_onto(self.segmentation_node, self._edit_matrix())
        selected = self.editor_node.GetSelectedSegmentID()
        with paused_rendering():
            for segment_id, added, removed in changing:
                if len(changing) > 1:
                    # What came before may have taken voxels from this one.
                    added, removed = self._plan(segment_id, axis, masks[segment_id])
                touched |= self._in_the_way(segment_id, added, removed)
                before = self._content(segment_id, added, removed)
                self._modify(segment_id, added, removed)
                after = self._content(segment_id, added, removed)
                changed += sum(int((a.voxels != b.voxels).sum()) for a, b in zip(before, after, strict=True))
                asked += sum(int(part.voxels.sum()) for part in (added, removed) if part)
            if self.editor_node.GetSelectedSegmentID() != selected:
                self.editor_node.SetSelectedSegmentID(selected)
            self._remember(masks, axis, annotated, {segment_id for segment_id, _, _ in changing}, touched)
        return _written(changed, max(asked - changed, 0), bool(changing))

    def _check(self, segment_id: str, axis: Axis, masks: SliceMasks) -> None:
        """Raise if the masks cannot be written."""
        get_segment(self.segmentation_node, segment_id)
        parent_to_world(self.segmentation_node)
        if self.segmentation_node.GetSegmentation().GetSourceRepresentationName() != binary_labelmap():
            labelmap_of(self.segmentation_node, segment_id)  # says what to do
            self._logic.TrivialSetSourceRepresentationToBinaryLabelmap()
        shape = self.volume.slice_shape(axis)
        for index, mask in masks.items():
            self.volume.slice_pixels(SliceIndex(axis, index))
            if np.shape(mask) != shape:
                raise InputError(f"A mask has {np.shape(mask)} pixels, but the slices along {axis} have {shape}.")

    def _plan(self, segment_id: str, axis: Axis, masks: SliceMasks) -> tuple[Block | None, Block | None]:
        """What is to be added and removed, as blocks of the grid on which the segmentation is edited."""
        self._check(segment_id, axis, masks)
        if not masks:
            return None, None
        first, last = min(masks), max(masks)
        shape = self.volume.slice_shape(axis)
        wanted = np.zeros((last - first + 1, *shape), dtype=bool)
        named = np.zeros(last - first + 1, dtype=bool)
        for index, mask in masks.items():
            wanted[index - first], named[index - first] = np.asarray(mask) != 0, True
        area = np.broadcast_to(named[:, None, None], wanted.shape)
        start = np.zeros(3, dtype=np.int64)
        start[2 - array_axis(axis)] = first
        new = self._to_edit_grid(Block(np.moveaxis(wanted, 0, array_axis(axis)), start))
        allowed = self._to_edit_grid(Block(np.moveaxis(area, 0, array_axis(axis)), start))
        old = self._current(segment_id, new.start, new.stop)
        added = Block(new.voxels & ~old.voxels & allowed.voxels, new.start).cropped()
        removed = Block(old.voxels & ~new.voxels & allowed.voxels, new.start).cropped()
        return added if added.voxels.size else None, removed if removed.voxels.size else None

    def _to_edit_grid(self, block: Block) -> Block:
        return move_block(block, self.volume.ijk_to_ras, parent_to_world(self.segmentation_node) @ self._edit_matrix())

    def _edit_matrix(self) -> np.ndarray:
        matrix = edit_matrix(self.segmentation_node)
        if matrix is None:
            raise InputError(f"{self.segmentation_node.GetName()} has lost its geometry: choose it again.")
        return matrix

    def _current(self, segment_id: str, start: np.ndarray, stop: np.ndarray) -> Block:
        """The segment on a part of the grid on which it is edited."""
        labelmap = labelmap_of(self.segmentation_node, segment_id)
        if labelmap is None:
            return Block(np.zeros((0, 0, 0), dtype=bool), start).cut(start, stop)
        return labelmap.on_grid(self._edit_matrix(), start, stop)

    def _content(self, segment_id: str, *parts: Block | None) -> list[Block]:
        """The segment where it is to change."""
        found = [(part, self._current(segment_id, part.start, part.stop)) for part in parts if part]
        return [Block(current.voxels & part.voxels, part.start) for part, current in found]

    def _modify(self, segment_id: str, added: Block | None, removed: Block | None) -> None:
        # The editable area "outside of all segments" leaves out the selected segment.
        self.editor_node.SetSelectedSegmentID(segment_id)
        logic = self._logic
        for part, mode in ((removed, logic.ModificationModeRemove), (added, logic.ModificationModeAdd)):
            if part:
                image = oriented_image(part.voxels, self._edit_matrix(), part.start)
                extent = image.GetExtent()
                logic.ModifySegmentByLabelmap(self.segmentation_node, segment_id, image, mode, extent, False, False)

    def _in_the_way(self, segment_id: str, *parts: Block | None) -> set[str]:
        """The segments whose voxels a change may take or give."""
        blocks = [part for part in parts if part]
        if not blocks:
            return set()
        start = np.min([block.start for block in blocks], axis=0)
        stop = np.max([block.stop for block in blocks], axis=0)
        found = segments_within(self.segmentation_node, self._edit_matrix(), start, stop) | {segment_id}
        # Erasing inside of one segment gives voxels back to it.
        inside = self.editor_node.GetMaskSegmentID()
        return found | ({inside} & set(segment_ids(self.segmentation_node)))

    def _remember(
        self, masks: Mapping[str, SliceMasks], axis: Axis, annotated: bool, changed: set[str], touched: set[str]
    ) -> None:
        node, volume = self.segmentation_node, self.volume
        for segment_id, by_slice in masks.items():
            slices = {SliceIndex(axis, index) for index in by_slice}
            if annotated:
                mark_annotated(node, [segment_id], volume, slices)
            elif segment_id in changed and (gone := slices & annotations_of(node, segment_id, volume)):
                unmark_annotated(node, [segment_id], volume, gone)
        touch(node, touched)


def _written(changed: int, refused: int, saved: bool) -> Written:
    notice = f"{refused} voxels are protected by the masking settings and stayed as they were." if refused else None
    return Written(changed, refused, notice, saved)


def _new_editor(scene: Any) -> Any:
    node = slicer.vtkMRMLSegmentEditorNode()
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    return scene.AddNode(node)
