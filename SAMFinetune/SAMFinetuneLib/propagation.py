"""Fills in segments from their annotated slices: what stands behind the Propagate section."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.presence import Older, Presence
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.propagation_run import PropagationRun, plan_run
from SAMFinetuneLib.review import Review
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.step_writing import Result, StepWriting
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.mrml.annotated import annotated_slices
from SAMFinetuneLogic.mrml.editing import Written
from SAMFinetuneLogic.mrml.segments import segment_ids
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.worker.tasks import Task

if TYPE_CHECKING:
    from SAMFinetuneLogic.propagation.result import PropagationResult  # brings scipy, too slow for opening the module

Said = tuple[dict[str, str], str]
"""For the user: of each segment what was filled in and how well, and what holds for all of them."""
Carried = tuple[Said, Older]


class Propagation:
    """Runs one propagation at a time and writes its result, as one step of the Segment Editor's undo.

    Args:
        writing: writes the result, in steps.
        undo: takes back the last edit.
        presence: tells what was taken back.

    Attributes:
        changed: emitted when a run starts, comes forward, or ends.
        failed: emitted with the exception that a run ended in.
        done, total: units of work of the run; both 0 while nothing runs.
        summary: a sentence on the last result; empty without one, or once it was taken back.

    Example:
        >>> propagation = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.propagation
        >>> propagation.start(PropagationOptions(method="interpolate"))
        >>> propagation.start(all_segments=True)
    """

    def __init__(
        self,
        inference: Inference,
        prompter: Prompter,
        review: Review,
        writing: StepWriting,
        undo: Callable[[], None],
        presence: Presence,
    ) -> None:
        self.changed = Signal()
        self.failed = Signal()
        self.done = self.total = 0
        self.summary = ""
        self.result: PropagationResult | None = None
        self._inference, self._prompter, self._review = inference, prompter, review
        self._run: PropagationRun | None = None
        self._running: Task | None = None
        self._writing, self._undo = writing, undo
        self._written: Result | None = None
        self._presence = presence
        self._older: Older = {}
        self._said: Said = {}, ""

    @property
    def running(self) -> bool:
        """Whether a run goes on, the writing of its result included."""
        return self._running is not None or self._written is not None

    def annotated(self) -> tuple[int, ...]:
        """The annotated slices of the selected segment along the axis of the slice shown."""
        work, segment = self._prompter.work, self._prompter.segment
        return annotated_slices(work.segmentation_node, segment, work.volume, self._prompter.slice.axis)

    def annotated_segments(self) -> dict[str, tuple[int, ...]]:
        """The annotated slices of each segment that has some, along the axis of the slice shown."""
        work, axis = self._prompter.work, self._prompter.slice.axis
        node = work.segmentation_node
        found = {segment: annotated_slices(node, segment, work.volume, axis) for segment in segment_ids(node)}
        return {segment: slices for segment, slices in found.items() if slices}

    def start(self, options: PropagationOptions | None = None, all_segments: bool = False) -> None:
        """Fill in the selected segment, or all that have annotated slices; returns at once.

        Args:
            options: axis, slices and values are set here: the segments, their annotated slices, and the axis of the
                slice shown.
            all_segments: each from its own annotated slices. Segments with the same ones are filled in together,
                others one after the other; a voxel that is taken stays so. All of it is one step of undo.

        Raises:
            InputError: a run goes on, previews are not accepted yet, or no slice is annotated.
        """
        if self.running:
            raise InputError("A propagation is running: wait for it, or cancel it first.")
        if self._prompter.pending or self._prompter.waiting:
            raise InputError("There are masks that are not accepted yet: accept or clear them first.")
        work, axis = self._prompter.work, self._prompter.slice.axis
        annotated = self.annotated_segments()
        if not all_segments:
            segment = self._prompter.segment
            if segment not in annotated:
                raise InputError(
                    f"No slice along {axis} is annotated for {work.name(segment)}: accept a mask, or mark a slice as "
                    f"done."
                )
            annotated = {segment: annotated[segment]}
        elif not annotated:
            raise InputError(f"No slice along {axis} is annotated: accept a mask, or mark a slice as done.")
        whole = work.volume.slice_count(axis)
        annotated = {segment: slices for segment, slices in annotated.items() if len(slices) < whole}
        if not annotated:
            raise InputError(f"Every slice along {axis} is annotated: there is nothing to fill in.")
        run = plan_run(work, axis, annotated, options or PropagationOptions())
        self._say({}, "")
        self._run = run
        try:
            self._ask(run)
        except Exception:
            self._end()
            raise
        self.changed.emit()

    def cancel(self) -> None:
        """Stop; nothing stays written. A result that is half written is written to its end, and taken back then."""
        if self._written is not None:
            self._written.unwanted = True
        elif self._running is not None:
            self._running.cancel()
            self._end()

    def forget(self) -> bool:
        """Stop, and drop the last result: the volume, or how the model sees it, is another one now.

        Returns:
            Whether a run was stopped.
        """
        work = self._work_now()
        if work is not None and work.in_scene:
            self._writing.finish()
        else:
            self._writing.drop(self._written)
            self._run = self._written = None
        stopped = self.running
        self.cancel()
        self.result = None
        self._say({}, "")
        return stopped

    def carried(self) -> Carried:
        """For :meth:`take_up`: what is said of the last result, and what tells whether it is taken back."""
        return self._said, self._older

    def take_up(self, work: Work, carried: Carried) -> None:
        """Say of the last result what was said before :meth:`forget`: the same voxels are open again."""
        said, self._older = carried
        self._say(*said)
        self.look(work)

    def look(self, work: Work) -> None:
        """See whether the last result was taken back, or done again; a removed segment's part is left out, too."""
        parts, notice = self._said
        if parts and work.in_scene:
            standing = self._presence.standing(work.segmentation_node, self._older)
            here = [text for segment, text in parts.items() if segment in standing]
            summary = " ".join(text for text in (*here, notice) if text) if here else ""
            if summary != self.summary:
                self.summary = summary
                self.changed.emit()

    def _on_progress(self, run: PropagationRun, done: int, total: int) -> None:
        if self._run is run:
            self.done, self.total = done, total
            self.changed.emit()

    def _ask(self, run: PropagationRun) -> None:
        slices, segments = run.waiting.pop(0)
        values = tuple(run.values[segment] for segment in segments)
        chosen = replace(run.options, axis=run.axis, slices=slices, values=values)
        self.done = self.total = 0
        self._running = self._inference.propagate(
            run.work,
            run.labels,
            chosen,
            lambda done, total: self._on_progress(run, done, total),
            lambda result: self._on_done(run, segments, result),
            lambda error: self._on_failure(run, error),
        )

    def _on_done(self, run: PropagationRun, segments: Sequence[str], result: "PropagationResult") -> None:
        if self._run is not run or run.work is not self._work_now():
            return
        run.labels = result.labels
        run.results += [(segment, run.values[segment], result) for segment in segments]
        try:
            if run.waiting:
                self._ask(run)
                return
        except Exception as error:  # the segment or its node may be gone by now
            self._on_failure(run, error)
            return
        self.done = self.total = 0
        self._running, self._written = None, self._result(run, result)
        self._writing.write(self._written)

    def _result(self, run: PropagationRun, result: "PropagationResult") -> Result:
        def done(written: Written | None) -> None:
            self.result = result
            self._older = self._presence.older(run.work.segmentation_node)
            self._say(*run.said(written))
            self.look(run.work)
            self._review.set_results(run.work, run.results)
            self._end()

        def taken_back() -> None:
            self._say({}, "Taken back: nothing was filled in.")
            self._end()

        self._writing.finish()  # of another result
        return Result(
            run.work.writer.write_in_steps(run.masks(), run.axis, annotated=False),
            self._on_step,
            done,
            taken_back,
            lambda error: self._on_failure(run, error),
            self._undo,
        )

    def _say(self, parts: dict[str, str], notice: str) -> None:
        self._said = parts, notice
        self.summary = "" if parts else notice

    def _on_step(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.changed.emit()

    def _on_failure(self, run: PropagationRun, error: Exception) -> None:
        if self._run is run:  # a cancelled one says so later, when another may be at work
            self._end()
            self.failed.emit(error)

    def _work_now(self) -> Work | None:
        try:
            return self._prompter.work
        except InputError:
            return None

    def _end(self) -> None:
        self._run = self._running = self._written = None
        self.done = self.total = 0
        self.changed.emit()
