"""What an interactive session holds, as immutable values, and the commands that lead from one state to the next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex
from SAMFinetuneLogic.prompting.packed import PackedLogits, PackedMask
from SAMFinetuneLogic.prompting.prompts import (
    Prompt,
    prompt_from_dict,
    slice_from_dict,
    slice_to_dict,
)


@dataclass(frozen=True)
class PlacedPrompt:
    """A prompt in a session.

    Attributes:
        id: its own number, never used again in the session.
        segment: id of the segment that it is for.
        axis: the axis of the slices on which it was drawn: it prompts those, not the others that it also lies on.
        prompt: in RAS.
    """

    id: int
    segment: str
    axis: Axis
    prompt: Prompt


@dataclass(frozen=True)
class Target:
    """One segment on one slice: what one answer of the model is about."""

    segment: str
    slice: SliceIndex


@dataclass(frozen=True)
class Feedback:
    """The mask chosen before the last prompts, for the model to start from.

    Attributes:
        logits: low resolution, as the decoder gave them.
        basis: ids of the prompts that it came from. Once one of them is moved or removed, it is dropped.
    """

    logits: PackedLogits
    basis: tuple[int, ...]


@dataclass(frozen=True)
class SliceState:
    """What a session knows of a target beside its prompts.

    Attributes:
        choice: number of the candidate that the user wants to see; 0 is the best predicted.
        feedback: the earlier mask, or None.
        accepted: the mask that the user accepted, or None.
    """

    choice: int = 0
    feedback: Feedback | None = None
    accepted: PackedMask | None = None


@dataclass(frozen=True)
class SessionState:
    """All that undo and redo restore. Prompts are in the order of their ids."""

    prompts: Mapping[int, PlacedPrompt] = field(default_factory=dict)
    slices: Mapping[Target, SliceState] = field(default_factory=dict)

    def of(self, target: Target) -> SliceState:
        """The state of a target; the default one if nothing is known of it."""
        return self.slices.get(target, SliceState())


@dataclass(frozen=True)
class PromptChange:
    """A prompt before and after; None is a prompt that does not exist."""

    before: PlacedPrompt | None
    after: PlacedPrompt | None


@dataclass(frozen=True)
class SliceChange:
    """The state of a target before and after."""

    target: Target
    before: SliceState
    after: SliceState


@dataclass(frozen=True)
class Command:
    """One step of the user, to be done, undone and redone as a whole.

    Attributes:
        label: for the undo button.
        prompts: changes of prompts.
        slices: changes of targets.
        reprompted: the targets whose answer depends on this step.
    """

    label: str
    prompts: tuple[PromptChange, ...] = ()
    slices: tuple[SliceChange, ...] = ()
    reprompted: frozenset[Target] = frozenset()

    def apply(self, state: SessionState) -> SessionState:
        """The state after this step."""
        prompts, slices = dict(state.prompts), dict(state.slices)
        for change in self.prompts:
            if change.before is not None:
                del prompts[change.before.id]
            if change.after is not None:
                prompts[change.after.id] = change.after
        for changed in self.slices:
            slices[changed.target] = changed.after
            if changed.after == SliceState():
                del slices[changed.target]
        return SessionState(dict(sorted(prompts.items())), slices)

    def inverse(self) -> "Command":
        """The step back."""
        return replace(
            self,
            prompts=tuple(PromptChange(change.after, change.before) for change in self.prompts),
            slices=tuple(SliceChange(change.target, change.after, change.before) for change in self.slices),
        )

    @property
    def targets(self) -> frozenset[Target]:
        """All targets whose display may change."""
        return self.reprompted | {change.target for change in self.slices}


def prompts_to_list(prompts: Iterable[PlacedPrompt]) -> list[dict[str, Any]]:
    """Prompts for JSON."""
    return [
        {"id": placed.id, "segment": placed.segment, "axis": placed.axis, "prompt": placed.prompt.to_dict()}
        for placed in prompts
    ]


def prompts_from_list(content: Iterable[Mapping[str, Any]]) -> dict[int, PlacedPrompt]:
    """The inverse of :func:`prompts_to_list`.

    Raises:
        InputError: damaged content.
    """
    prompts: dict[int, PlacedPrompt] = {}
    for entry in content:
        number, segment, axis = entry.get("id"), entry.get("segment"), entry.get("axis")
        if type(number) is not int or number in prompts or not isinstance(segment, str) or axis not in AXES:
            raise InputError(f"A stored prompt of the session is damaged (id {number!r}, axis {axis!r}); remove it.")
        prompts[number] = PlacedPrompt(number, segment, axis, prompt_from_dict(entry.get("prompt", {})))
    return dict(sorted(prompts.items()))


def slices_to_list(slices: Mapping[Target, SliceState]) -> list[dict[str, Any]]:
    """The states of targets for JSON."""
    return [
        {
            "segment": target.segment,
            **slice_to_dict(target.slice),
            "choice": state.choice,
            "feedback": None
            if state.feedback is None
            else {"basis": list(state.feedback.basis), "logits": state.feedback.logits.to_dict()},
            "accepted": None if state.accepted is None else state.accepted.to_dict(),
        }
        for target, state in slices.items()
    ]


def slices_from_list(content: Iterable[Mapping[str, Any]]) -> dict[Target, SliceState]:
    """The inverse of :func:`slices_to_list`.

    Raises:
        InputError: damaged content.
    """
    slices = {}
    for entry in content:
        segment, choice = entry.get("segment"), entry.get("choice")
        if not isinstance(segment, str) or type(choice) is not int:
            raise InputError("A stored slice of the session is damaged: it has no segment or choice; remove it.")
        feedback, accepted = entry.get("feedback"), entry.get("accepted")
        slices[Target(segment, slice_from_dict(entry))] = SliceState(
            choice,
            None
            if feedback is None
            else Feedback(PackedLogits.from_dict(feedback["logits"]), tuple(int(n) for n in feedback["basis"])),
            None if accepted is None else PackedMask.from_dict(accepted),
        )
    return slices
