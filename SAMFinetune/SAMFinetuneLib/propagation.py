"""Fills in the selected segment from its annotated slices: what stands behind the Propagate section. No Qt."""

from typing import TYPE_CHECKING, Any

import numpy as np

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.review import Review
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import array_axis
from SAMFinetuneLogic.mrml.annotated import annotated_slices
from SAMFinetuneLogic.mrml.segments import segment_ids, segmentation_labels
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.worker.interface import Task

if TYPE_CHECKING:
    from SAMFinetuneLogic.propagation.result import PropagationResult  # brings scipy, too slow for opening the module


class Propagation:
    """Runs one propagation at a time and writes its result, as one step of the Segment Editor's undo.

    Attributes:
        changed: emitted when a run starts, comes forward, or ends.
        failed: emitted with the exception that a run ended in.
        done, total: units of work of the run; both 0 while nothing runs.
        summary: a sentence on the last result, or empty.

    Example:
        >>> propagation = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.propagation
        >>> propagation.start(PropagationOptions(method="interpolate"))
    """

    def __init__(self, inference: Inference, prompter: Prompter, review: Review) -> None:
        self.changed = Signal()
        self.failed = Signal()
        self.done = self.total = 0
        self.summary = ""
        self.result: PropagationResult | None = None
        self._inference, self._prompter, self._review = inference, prompter, review
        self._running: Task | None = None

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self._running is not None

    def annotated(self) -> tuple[int, ...]:
        """The annotated slices of the selected segment along the axis of the slice shown."""
        work, segment = self._prompter.work, self._prompter.segment
        return annotated_slices(work.segmentation_node, segment, work.volume, self._prompter.slice.axis)

    def start(self, options: PropagationOptions | None = None) -> None:
        """Fill in the selected segment; returns at once.

        Args:
            options: axis, slices and values are set here: the selected segment, its annotated slices, and the axis of
                the slice shown.

        Raises:
            InputError: a run goes on, previews are not accepted yet, or no slice is annotated.
        """
        if self.running:
            raise InputError("A propagation is running: wait for it, or cancel it first.")
        if self._prompter.pending or self._prompter.waiting:
            raise InputError("There are masks that are not accepted yet: accept or clear them first.")
        work, segment, axis = self._prompter.work, self._prompter.segment, self._prompter.slice.axis
        slices = self.annotated()
        if not slices:
            raise InputError(
                f"No slice along {axis} is annotated for {work.name(segment)}: accept a mask, or mark a slice as done."
            )
        # The segment itself last: of segments that overlap, the last one has the voxel.
        ids = [other for other in segment_ids(work.segmentation_node) if other != segment]
        found = segmentation_labels(work.segmentation_node, work.volume, [*ids, segment])
        value = found.values[segment]
        given = options or PropagationOptions()
        chosen = PropagationOptions(
            axis=axis,
            slices=slices,
            values=(value,),
            first=given.first,
            last=given.last,
            method=given.method,
            direction=given.direction,
            learn=given.learn,
            measure=given.measure,
            jitter=given.jitter,
        )
        self.done, self.total, self.summary = 0, 0, ""
        self._running = self._inference.propagate(
            work,
            found.labels,
            chosen,
            self._on_progress,
            lambda result: self._on_done(work, segment, value, result),
            self._on_failure,
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Stop; nothing is written."""
        if self._running is not None:
            self._running.cancel()
            self._end()

    def forget(self) -> None:
        """Stop, and drop the last result: the volume is another one now."""
        self.cancel()
        self.result, self.summary = None, ""

    def _on_progress(self, done: int, total: int) -> None:
        if self._running is not None:
            self.done, self.total = done, total
            self.changed.emit()

    def _on_done(self, work: Work, segment: str, value: int, result: "PropagationResult") -> None:
        if self._running is None or work is not self._work_now():
            return
        filled = {report.index for report in result.slices if report.value == value}
        stack = np.moveaxis(result.labels.voxels, array_axis(result.axis), 0)
        masks = {index: stack[index] == value for index in sorted(filled)}
        try:
            written = work.writer.write_slices({segment: masks}, result.axis, annotated=False)
        except Exception as error:  # the segment or its node may be gone by now
            self._on_failure(error)
            return
        self.result = result
        estimate = next((e.text for e in result.estimates if e.value == value), "")
        drawn = sum(1 for mask in masks.values() if mask.any())
        parts = [f"Filled in {drawn} slices of {work.name(segment)}.", estimate, written.notice or "", *result.notices]
        self.summary = " ".join(part for part in parts if part)
        self._review.set_result(work, segment, value, result)
        self._end()

    def _on_failure(self, error: Exception) -> None:
        if self._running is not None:
            self._end()
            self.failed.emit(error)

    def _work_now(self) -> Any:
        try:
            return self._prompter.work
        except InputError:
            return None

    def _end(self) -> None:
        self._running = None
        self.done = self.total = 0
        self.changed.emit()
