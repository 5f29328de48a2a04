"""Fills in segments from their annotated slices: what stands behind the Propagate section."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import qt

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.review import Review
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import Axis, array_axis
from SAMFinetuneLogic.imaging.labels import LabelMap
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
        >>> propagation.start(all_segments=True)
    """

    def __init__(self, inference: Inference, prompter: Prompter, review: Review) -> None:
        self.changed = Signal()
        self.failed = Signal()
        self.done = self.total = 0
        self.summary = ""
        self.result: PropagationResult | None = None
        self._inference, self._prompter, self._review = inference, prompter, review
        self._running: Task | None = None
        self._writing: Iterator[None] | None = None
        self._write_timer = qt.QTimer()
        self._write_timer.setInterval(0)
        self._write_timer.connect("timeout()", self._write_more)

    @property
    def running(self) -> bool:
        """Whether a run goes on, the writing of its result included."""
        return self._running is not None or self._writing is not None

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
        run = _plan(work, axis, annotated, options or PropagationOptions())
        self.summary = ""
        self._ask(run)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop; nothing is written. A result that is being written is written to its end; undo takes it back."""
        while self._writing is not None:
            self._write_more()
        if self._running is not None:
            self._running.cancel()
            self._end()

    def forget(self) -> None:
        """Stop, and drop the last result: the volume is another one now."""
        work = self._work_now()
        if work is None or not work.in_scene:
            self._writing = None
        self.cancel()
        self.result, self.summary = None, ""

    def _on_progress(self, done: int, total: int) -> None:
        if self._running is not None:
            self.done, self.total = done, total
            self.changed.emit()

    def _ask(self, run: "_Run") -> None:
        slices, segments = run.waiting.pop(0)
        values = tuple(run.values[segment] for segment in segments)
        chosen = replace(run.options, axis=run.axis, slices=slices, values=values)
        self.done = self.total = 0
        self._running = self._inference.propagate(
            run.work,
            run.labels,
            chosen,
            self._on_progress,
            lambda result: self._on_done(run, segments, result),
            self._on_failure,
        )

    def _on_done(self, run: "_Run", segments: Sequence[str], result: "PropagationResult") -> None:
        if self._running is None or run.work is not self._work_now():
            return
        run.labels = result.labels
        run.results += [(segment, run.values[segment], result) for segment in segments]
        try:
            if run.waiting:
                self._ask(run)
                return
        except Exception as error:  # the segment or its node may be gone by now
            self._on_failure(error)
            return
        # A few slices at a time: the user interface must not stand still.
        self._writing, self._running = self._write(run, result), None
        self._write_timer.start()

    def _write(self, run: "_Run", result: "PropagationResult") -> Iterator[None]:
        notice = None
        for self.done, self.total, written in run.work.writer.write_in_steps(run.masks(), run.axis, annotated=False):
            notice = written.notice
            self.changed.emit()
            yield
        self.result = result
        self.summary = run.summary(notice)
        self._review.set_results(run.work, run.results)

    def _write_more(self) -> None:
        if self._writing is None:
            self._write_timer.stop()
            return
        try:
            next(self._writing)
        except StopIteration:
            self._end()
        except Exception as error:  # the segment or its node may be gone by now
            self._on_failure(error)

    def _on_failure(self, error: Exception) -> None:
        if self.running:
            self._end()
            self.failed.emit(error)

    def _work_now(self) -> Any:
        try:
            return self._prompter.work
        except InputError:
            return None

    def _end(self) -> None:
        self._running = self._writing = None
        self._write_timer.stop()
        self.done = self.total = 0
        self.changed.emit()


@dataclass(eq=False)
class _Run:
    """What is filled in, by groups of segments with the same annotated slices.

    Attributes:
        labels: what is drawn so far; each group sees what the ones before have filled in.
        values: of each segment by its id.
        waiting: (annotated slices, segments) of the groups that are not filled in yet.
        results: (segment, value, result) of those that are.
    """

    work: Work
    axis: Axis
    options: PropagationOptions
    labels: LabelMap
    values: dict[str, int]
    waiting: list[tuple[tuple[int, ...], list[str]]]
    results: list[tuple[str, int, "PropagationResult"]] = field(default_factory=list)

    def masks(self) -> "dict[str, _Masks]":
        """By segment and slice, where something was filled in."""
        stack = np.moveaxis(self.labels.voxels, array_axis(self.axis), 0)
        return {
            segment: _Masks(stack, value, tuple(report.index for report in result.slices if report.value == value))
            for segment, value, result in self.results
        }

    def summary(self, notice: str | None) -> str:
        """For the user."""
        parts = []
        for segment, value, result in self.results:
            drawn = sum(1 for report in result.slices if report.value == value and report.pixels)
            parts.append(f"Filled in {drawn} slices of {self.work.name(segment)}.")
            parts.append(next((e.text for e in result.estimates if e.value == value), ""))
        notices = dict.fromkeys(notice for *_, result in self.results for notice in result.notices)
        return " ".join(part for part in (*parts, notice or "", *notices) if part)


class _Masks(Mapping[int, np.ndarray]):
    """The slices of one label, made when they are asked for: all at once take as much memory as the volume's labels.

    Args:
        stack: (slices, rows, cols) labels.
        value: the label.
        indices: of the slices.
    """

    def __init__(self, stack: np.ndarray, value: int, indices: tuple[int, ...]) -> None:
        self._stack, self._value, self._indices = stack, value, dict.fromkeys(sorted(indices))

    def __getitem__(self, index: int) -> np.ndarray:
        if index not in self._indices:
            raise KeyError(index)
        return self._stack[index] == self._value

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


def _plan(work: Work, axis: Axis, annotated: dict[str, tuple[int, ...]], options: PropagationOptions) -> _Run:
    """Group the segments by their annotated slices.

    Raises:
        InputError: nothing is drawn on the annotated slices of any of them.
    """
    # These last: of segments that overlap, the last one has the voxel.
    others = [segment for segment in segment_ids(work.segmentation_node) if segment not in annotated]
    found = segmentation_labels(work.segmentation_node, work.volume, [*others, *annotated])
    voxels = found.labels.voxels.copy()
    stack = np.moveaxis(voxels, array_axis(axis), 0)
    groups: dict[tuple[int, ...], list[str]] = {}
    for segment, slices in annotated.items():
        value = found.values[segment]
        if any((stack[index] == value).any() for index in slices):
            groups.setdefault(slices, []).append(segment)
            for index in set(range(len(stack))) - set(slices):  # an earlier result is no obstacle to the others
                stack[index][stack[index] == value] = 0
    if not groups:
        raise InputError("Nothing is drawn on the annotated slices: draw the structure on at least one of them.")
    labels = LabelMap.of_known(voxels, found.labels.ijk_to_ras, found.labels.segments, found.labels.name)
    return _Run(work, axis, options, labels, found.values, list(groups.items()))
