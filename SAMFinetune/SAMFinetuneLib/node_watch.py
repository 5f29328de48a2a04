"""Notices what happens to the open volume and its segmentation outside of the module."""

from collections.abc import Callable
from typing import Any

import slicer
from slicer.util import VTKObservationMixin

from SAMFinetuneLib.settling import Settling
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.imaging.axes import Axis
from SAMFinetuneLogic.mrml.hand_edits import HandEdits
from SAMFinetuneLogic.mrml.segments import segment_ids

_HAND_EDIT_DELAY_MS = 150


class NodeWatch(VTKObservationMixin):
    """Follows the nodes of one work at a time.

    Args:
        on_edited: a method, called a moment after segments were drawn on, undone, renamed, added or removed.
        on_segments: called when segments were added or removed.
        on_moved: called when the volume is another one or lies elsewhere, or its segmentation does.
        busy: whether such a move cannot be followed at this moment.
    """

    def __init__(
        self,
        on_edited: Callable[[], None],
        on_segments: Callable[[], None],
        on_moved: Callable[[], None],
        busy: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._on_segments, self._busy = on_segments, busy
        self._work: Work | None = None
        self._hand_edits: HandEdits | None = None
        self._looks: tuple[tuple[str, tuple[float, float, float]], ...] = ()
        self._edited = make_timer(on_edited, _HAND_EDIT_DELAY_MS, once=True)
        self._moves = Settling(on_moved)

    def follow(self, work: Work, working_axis: Callable[[], Axis]) -> None:
        """Begin; ``working_axis`` is for edits that could lie along several axes."""
        volume_node, segmentation_node = work.volume_node, work.segmentation_node
        self._work = work
        self._hand_edits = HandEdits(segmentation_node, work.volume, working_axis)
        self._looks = _looks(work)
        edits = slicer.vtkSegmentation.SourceRepresentationModified, slicer.vtkSegmentation.SegmentModified  # and undo
        for event in edits:
            self.addObserver(segmentation_node, event, self._on_edited)
        for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
            self.addObserver(segmentation_node, event, self._on_segments_changed)
        # Another place, spacing or direction of its own is a plain modification.
        for event in (volume_node.ImageDataModifiedEvent, volume_node.TransformModifiedEvent, "ModifiedEvent"):
            self.addObserver(volume_node, event, self._on_placed)
        self.addObserver(segmentation_node, segmentation_node.TransformModifiedEvent, self._on_placed)

    def stop(self) -> None:
        """Let go of the nodes."""
        self.removeObservers()
        self._edited.stop()
        self._moves.forget()
        self._work = self._hand_edits = None

    def collect(self, segment: str) -> bool:
        """Mark the slices on which the user has drawn since the last look; whether there are any."""
        return self._hand_edits is not None and bool(segment) and bool(self._hand_edits.collect(segment))

    def renamed(self) -> bool:
        """Whether segments have got other names or colours since the last look."""
        before, self._looks = self._looks, () if self._work is None else _looks(self._work)
        return before != self._looks

    def catch_up(self) -> None:
        """Follow a move that waits for quiet: somebody needs the volume."""
        self._moves.now()

    def _on_edited(self, *_: Any) -> None:
        self._edited.start()

    def _on_segments_changed(self, *_: Any) -> None:
        self._edited.start()  # not at once: undo removes all segments before it brings them back
        self._on_segments()

    def _on_placed(self, *_: Any) -> None:
        if self._work is not None and self._work.moved:
            self._moves.change(later=self._busy())


def _looks(work: Work) -> tuple[tuple[str, tuple[float, float, float]], ...]:
    return tuple((work.name(segment), work.color(segment)) for segment in segment_ids(work.segmentation_node))
