"""From prompts to a preview, and from the preview to the segment. No Qt: answers come by callback."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.questions import Questions
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex
from SAMFinetuneLogic.mrml.annotated import mark_annotated
from SAMFinetuneLogic.mrml.markups import prompts_of
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.placement import slices_of
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, PointPrompt, Position, Prompt, ScribblePrompt
from SAMFinetuneLogic.prompting.session_state import PlacedPrompt, Target


@dataclass(frozen=True)
class Accepted:
    """What :meth:`Prompter.accept` wrote.

    Attributes:
        slices, changed: how many slices of how many segments, and voxels that changed.
        notice: a sentence if masking kept voxels from changing.
    """

    slices: int
    changed: int
    notice: str | None


class Prompter:
    """What the Prompt section does; usable from the Python console.

    Attributes:
        changed: emitted after each change of prompts, answers, or the slice shown.
        failed: emitted with an exception that an answer ended in.
        accepted: emitted when the user has annotated a slice here.
        answered: emitted with the seconds from the last prompt to its preview.
        before_accept: called before previews are written; the segments must not be half written.
        before_use: called before the volume is used; it must be up to date.

    Example:
        >>> prompter = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.prompter
        >>> prompter.add_point((12.0, -30.0, 88.5))
        >>> prompter.accept()
    """

    def __init__(self, inference: Inference) -> None:
        self.changed = Signal()
        self.failed = Signal()
        self.answered = Signal()
        self.accepted = Signal()
        self.before_accept: Callable[[], None] = _nothing
        self.before_use: Callable[[], Any] = _nothing
        self.notices: tuple[str, ...] = ()
        self._questions = Questions(inference, self._on_answer, self._on_failure)
        self._work: Work | None = None
        self._segment = ""
        self._slice = SliceIndex("k", 0)
        self._prompted_at: float | None = None

    # Where

    @property
    def work(self) -> Work:
        """The volume and segmentation under work.

        Raises:
            InputError: none are chosen.
        """
        self.before_use()
        if self._work is None:
            raise InputError("Choose a volume under Input first.")
        return self._work

    @property
    def segment(self) -> str:
        """Id of the segment that prompts are for.

        Raises:
            InputError: there is none.
        """
        if not self._segment:
            raise InputError("Choose or add a segment under Input first.")
        return self._segment

    @property
    def slice(self) -> SliceIndex:
        """The slice that the user looks at."""
        return self._slice

    @property
    def target(self) -> Target:
        """The chosen segment on the slice that the user looks at."""
        return Target(self._segment, self._slice)

    def set_work(self, work: Work | None) -> None:
        """Go to another volume or segmentation."""
        self._work = work
        self._questions.begin(work)
        self.refresh()

    def set_segment(self, segment_id: str) -> None:
        """Prompt another segment from now on."""
        self._segment = segment_id
        self.refresh()

    def set_slice(self, slice_index: SliceIndex) -> None:
        """Follow the user to another slice."""
        self._slice = slice_index
        self.refresh()

    # Prompts

    def add_point(self, position: Position, positive: bool = True, axis: Axis | None = None) -> int:
        """Click at a RAS position (mm); returns the prompt's id.

        Args:
            axis: of the slice that the click is for; the one that the user looks at by default.

        Raises:
            GeometryError: outside of the volume.
            InputError: no volume or no segment is chosen.
        """
        return self.add(PointPrompt(position, positive), axis)

    def add_box(self, points: Sequence[Position], axis: Axis | None = None) -> int:
        """A box by two opposite corners, or the eight corners of an ROI, in RAS mm.

        A box through several slices along ``axis`` prompts all of them.
        """
        return self.add(BoxPrompt(tuple(points)), axis)

    def add_scribble(self, points: Sequence[Position], positive: bool = True, axis: Axis | None = None) -> int:
        """A stroke through RAS points (mm)."""
        return self.add(ScribblePrompt(tuple(points), positive), axis)

    def add_markup(self, markups_node: Any) -> tuple[int, ...]:
        """Points, an ROI or a curve drawn with Slicer's Markups, in the axis of the slice that the user looks at.

        Raises:
            InputError: nothing of it is placed, or it is of another kind.
            GeometryError: a part of it lies outside of the volume; nothing of it is taken then.
        """
        volume, axis = self.work.volume, self._slice.axis
        prompts = prompts_of(markups_node, volume, axis)
        if not prompts:
            raise InputError(f"Nothing of {markups_node.GetName()} is placed yet: click in a slice view.")
        for prompt in prompts:
            slices_of(volume, prompt, axis)
        return tuple(self.add(prompt) for prompt in prompts)

    def add(self, prompt: Prompt, axis: Axis | None = None) -> int:
        """Add any prompt for the chosen segment and ask the model."""
        number = self.work.session.add_prompt(self.segment, axis or self._slice.axis, prompt)
        self._prompted_at = time.perf_counter()
        self.refresh()
        return number

    def move(self, prompt_id: int, prompt: Prompt) -> None:
        """Put a prompt elsewhere and ask the model."""
        self.work.session.move_prompt(prompt_id, prompt)
        self._prompted_at = time.perf_counter()
        self.refresh()

    def remove(self, prompt_id: int) -> None:
        """Take one prompt away and ask the model."""
        self.work.session.remove_prompt(prompt_id)
        self.refresh()

    def clear(self) -> None:
        """Remove all prompts of the chosen segment from the slice shown; can be undone."""
        self.work.session.clear_prompts(self.target)
        self.refresh()

    def prompts(self) -> tuple[PlacedPrompt, ...]:
        """All prompts of the chosen segment, on any slice."""
        if self._work is None:
            return ()
        return tuple(placed for placed in self._work.session.prompts() if placed.segment == self._segment)

    # Answers

    @property
    def candidates(self) -> Candidates | None:
        """The model's answer for the slice shown; None while there is none."""
        return None if self._work is None else self._work.session.candidates(self.target)

    @property
    def waiting(self) -> bool:
        """Whether the model still owes an answer."""
        return self.owed > 0

    @property
    def owed(self) -> int:
        """How many slices the model still has to answer."""
        return sum(not self._questions.is_failed(target) for target in self._questions.unanswered())

    @property
    def failed_targets(self) -> tuple[Target, ...]:
        """The targets whose prompts were not answered; they are asked again once a prompt of theirs changes."""
        return tuple(target for target in self._questions.unanswered() if self._questions.is_failed(target))

    @property
    def pending(self) -> tuple[Target, ...]:
        """The targets with a preview that is not accepted, of all segments and slices."""
        if self._work is None:
            return ()
        session = self._work.session
        return tuple(target for target in self._questions.targets() if session.candidates(target) is not None)

    def next_candidate(self) -> None:
        """Show another mask that the prompts may have meant."""
        session, target = self.work.session, self.target
        if session.candidates(target) is None:
            raise InputError("There is no mask on this slice yet: click a point or draw a box first.")
        session.choose_next(target)
        self.refresh()
        self._questions.sharpen(target)

    def accept(self) -> Accepted:
        """Write all previews to their segments, in one step of the Segment Editor's undo for each axis.

        The session starts anew: what was accepted is undone by the Segment Editor.

        Raises:
            InputError: there is nothing to accept, or the model still owes an answer.
        """
        work, pending = self.work, self.pending
        if self.waiting:
            raise InputError("The model is still at work on a prompt: accept once its mask is shown.")
        if self.failed_targets:
            where = work.slice_name(self.failed_targets[0].slice)
            raise InputError(f"A prompt on {where} was not answered: take it back or change it, then accept.")
        if not pending:
            raise InputError("There is nothing to accept: click a point or draw a box first.")
        self.before_accept()
        masks: dict[Axis, dict[str, dict[int, np.ndarray]]] = {}
        for target in pending:
            candidates = work.session.candidates(target)
            assert candidates is not None
            masks.setdefault(target.slice.axis, {}).setdefault(target.segment, {})[target.slice.index] = candidates.mask
        changed, notices = 0, []
        for axis, of_axis in masks.items():
            written = work.writer.write_slices(of_axis, axis, annotated=True)
            changed += written.changed
            if written.notice:
                notices.append(written.notice)
        work.clear_session()
        self._questions.begin(work)
        self.refresh()
        self.accepted.emit()
        return Accepted(len(pending), changed, " ".join(dict.fromkeys(notices)) or None)

    def mark_done(self) -> SliceIndex:
        """Say that the slice shown is right as it is for the chosen segment, empty or not; previews are accepted.

        Returns:
            The slice.
        """
        self.confirm(Target(self.segment, self._slice))
        return self._slice

    def confirm(self, target: Target) -> None:
        """As :meth:`mark_done`, for any segment and slice."""
        if self.work.session.candidates(target) is not None or target in self._questions.unanswered():
            self.accept()
        self.before_accept()
        mark_annotated(self.work.segmentation_node, [target.segment], self.work.volume, [target.slice])
        self.refresh()
        self.accepted.emit()

    # Undo

    @property
    def can_undo(self) -> bool:
        """Whether the session, not the Segment Editor, has something to undo."""
        return self._work is not None and self._work.session.undo_label is not None

    @property
    def can_redo(self) -> bool:
        """Whether the session has something to do again."""
        return self._work is not None and self._work.session.redo_label is not None

    def undo(self) -> None:
        """Take back the last step of the session."""
        self.work.session.undo()
        self.refresh()

    def redo(self) -> None:
        """Do the last step that was taken back again."""
        self.work.session.redo()
        self.refresh()

    # How it is done

    def refresh(self) -> None:
        """Ask the model what is not asked yet and show what is known."""
        if self._questions.unanswered():
            self.before_use()
            self._questions.ask(self.target)
        if self._work is not None:
            self._show()
        self.changed.emit()

    def ask_again(self) -> None:
        """Ask once more what is not answered: the process behind the model was restarted."""
        self._questions.begin(self._work)
        self.refresh()

    def _on_answer(self, target: Target, candidates: Candidates) -> None:
        self.notices = candidates.notices
        if target == self.target and self._prompted_at is not None:
            self._show()
            self.answered.emit(time.perf_counter() - self._prompted_at)
            self._prompted_at = None
        self.refresh()

    def _on_failure(self, error: Exception) -> None:
        self._prompted_at = None
        self.changed.emit()
        self.failed.emit(error)

    def _show(self) -> None:
        work, candidates = self.work, self.candidates
        if candidates is None:
            work.preview.clear()
            return
        try:
            work.preview.show(self._slice, candidates.mask, work.color(self._segment))
        except GeometryError:  # the volume was replaced by a smaller one in this moment
            work.preview.clear()


def _nothing() -> None:
    pass
