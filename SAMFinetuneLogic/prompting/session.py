"""An interactive session: prompts on any slice of any axis for any segment, with undo, redo and stale answers dropped.

No Qt, no MRML, no torch: the module, the command line and the tests drive the same object.
"""

from collections import deque
from collections.abc import Iterable, KeysView, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.packed import PackedLogits, PackedMask
from SAMFinetuneLogic.prompting.placement import SlicePrompts, prompts_on_slice, slices_of
from SAMFinetuneLogic.prompting.prompts import MaskPrompt, Prompt, is_positive
from SAMFinetuneLogic.prompting.session_state import (
    Command,
    Feedback,
    PlacedPrompt,
    PromptChange,
    SessionState,
    SliceChange,
    SliceState,
    Target,
    prompts_from_list,
    prompts_to_list,
    slices_from_list,
    slices_to_list,
)

UNDO_LIMIT = 200
SESSION_VERSION = 1

_GRID_TOLERANCE = 1e-4  # mm


@dataclass(frozen=True, eq=False)
class PredictionRequest:
    """What to ask the model, and of which revision.

    Attributes:
        target: segment and slice.
        revision: of the target's prompts; the answer counts as long as this is still the current one.
        prompts: in the slice's pixels.
        feedback: float32 (h, w) logits of the mask chosen before, or None.
        alternatives: the user looks at others than the candidate shown first: they are to be as sharp as that one.
    """

    target: Target
    revision: int
    prompts: SlicePrompts
    feedback: np.ndarray | None
    alternatives: bool = False


class InteractiveSession:
    """The state of one person's work on one volume.

    Prompts, chosen candidates, fed-back and accepted masks can be undone and redone. Answers of the model are no
    part of that: they are asked for again where :meth:`request` says so.

    Args:
        volume: gives the grid; its voxels are not looked at.
        undo_limit: how many steps can be undone.

    Example:
        >>> session = InteractiveSession(volume)
        >>> session.add_prompt("liver", "k", PointPrompt((12.0, -30.0, 88.5)))
        >>> request = session.request(target)
        >>> session.apply_result(request, predict_slice(predictor, embedded, request.prompts, request.feedback))
        >>> session.choose_next(target)
        >>> session.undo()
    """

    def __init__(self, volume: Volume, undo_limit: int = UNDO_LIMIT) -> None:
        self.volume = volume
        self._state = SessionState()
        self._undo: deque[Command] = deque(maxlen=undo_limit)
        self._redo: list[Command] = []
        self._next_id = 1
        self._revisions: dict[Target, int] = {}
        self._results: dict[Target, tuple[int, Candidates]] = {}
        self._known_targets: dict[int, tuple[PlacedPrompt, KeysView[Target]]] = {}

    # Prompts

    def add_prompt(self, segment: str, axis: Axis, prompt: Prompt) -> int:
        """Add a prompt to the slices along ``axis`` that it lies on; returns its id.

        The mask now chosen on these slices becomes the mask prompt of the next answer, as SAM's demo does.

        Raises:
            GeometryError: it lies outside of the volume.
            InputError: a mask of another axis.
        """
        placed = PlacedPrompt(self._next_id, segment, axis, prompt)
        targets = self._targets_of(placed)
        changes = []
        for target in targets:
            before = self._state.of(target)
            changes.append((target, before, replace(before, choice=0, feedback=self._new_feedback(target))))
        self._do("Add prompt", [PromptChange(None, placed)], changes, targets)
        self._next_id += 1
        return placed.id

    def move_prompt(self, prompt_id: int, prompt: Prompt) -> None:
        """Put ``prompt`` in the place of an earlier one; it keeps its id.

        Raises:
            InputError: no prompt has this id.
            GeometryError: the new one lies outside of the volume.
        """
        before = self._placed(prompt_id)
        after = replace(before, prompt=prompt)
        if after != before:
            self._change_prompts("Move prompt", [PromptChange(before, after)])

    def remove_prompt(self, prompt_id: int) -> None:
        """Remove a prompt.

        Raises:
            InputError: no prompt has this id.
        """
        self._change_prompts("Remove prompt", [PromptChange(self._placed(prompt_id), None)])

    def clear_prompts(self, target: Target) -> None:
        """Remove all prompts that lie on a slice, a box through many slices included, in one step."""
        placed = self.prompts(target)
        if placed:
            self._change_prompts("Clear prompts", [PromptChange(prompt, None) for prompt in placed])

    def prompts(self, target: Target | None = None) -> tuple[PlacedPrompt, ...]:
        """All prompts, or those of a target, in the order in which they were added."""
        return tuple(
            placed for placed in self._state.prompts.values() if target is None or target in self._targets_of(placed)
        )

    def prompted_targets(self) -> tuple[Target, ...]:
        """The targets that have prompts, in the order in which these were added."""
        return tuple(dict.fromkeys(t for placed in self.prompts() for t in self._targets_of(placed)))

    def answerable(self, target: Target) -> bool:
        """Whether a target's prompts say where the structure is, which negative ones alone do not."""
        return any(is_positive(placed.prompt) for placed in self.prompts(target))

    # Answers

    def revision(self, target: Target) -> int:
        """How often the prompts of a target have changed, by undo and redo too; it never goes back."""
        return self._revisions.get(target, 0)

    def request(self, target: Target) -> PredictionRequest | None:
        """What to ask the model now; None if the target's prompts do not say where the structure is."""
        placed = self.prompts(target)
        prompts = prompts_on_slice(self.volume, (p.prompt for p in placed), target.slice)
        if not prompts.has_target:
            return None
        feedback = self._state.of(target).feedback
        # A mask that the user has drawn since is newer than the model's.
        drawn = {p.id for p in placed if isinstance(p.prompt, MaskPrompt)}
        usable = feedback is not None and drawn <= set(feedback.basis)
        logits = feedback.logits.unpack() if feedback is not None and usable else None
        alternatives = self._state.of(target).choice > 0
        return PredictionRequest(target, self.revision(target), prompts, logits, alternatives)

    def apply_result(self, request: PredictionRequest, candidates: Candidates) -> bool:
        """Take the model's answer; False, and nothing happens, if the prompts have changed since the request.

        A later answer to the same request takes the place of the one before.
        """
        if request.revision != self.revision(request.target) or not self.prompts(request.target):
            return False
        self._results[request.target] = (request.revision, candidates)
        return True

    def candidates(self, target: Target) -> Candidates | None:
        """The answer to the current prompts with the user's choice; None while there is none."""
        revision, candidates = self._results.get(target, (None, None))
        if candidates is None or revision != self.revision(target):
            return None
        return candidates.choose(self._state.of(target).choice)

    def choose_next(self, target: Target) -> Candidates:
        """Show the next candidate; a new :meth:`request` gives it as sharp as the first one.

        Raises:
            InputError: there is no answer yet.
        """
        candidates = self._current(target)
        before = self._state.of(target)
        after = replace(before, choice=(before.choice + 1) % candidates.count)
        if after != before:
            self._do("Next candidate", [], [(target, before, after)], ())
        return self._current(target)

    def accept(self, target: Target, mask: np.ndarray | None = None) -> np.ndarray:
        """Keep the chosen candidate, or the mask given, as the target's result; returns it, boolean (rows, cols).

        Raises:
            InputError: there is no answer yet and no mask is given, or its shape is not that of the slice.
        """
        chosen = self._current(target).mask if mask is None else np.asarray(mask) != 0
        shape = self.volume.slice_shape(target.slice.axis)
        if chosen.shape != shape:
            raise InputError(f"The mask has {chosen.shape} pixels, but its slice has {shape}; give one of that shape.")
        before = self._state.of(target)
        after = replace(before, accepted=PackedMask.pack(chosen))
        if after != before:
            self._do("Accept", [], [(target, before, after)], ())
        return chosen

    def accepted(self, target: Target) -> np.ndarray | None:
        """The accepted mask, boolean (rows, cols), or None."""
        packed = self._state.of(target).accepted
        return None if packed is None else packed.unpack()

    def accepted_targets(self) -> tuple[Target, ...]:
        """The targets with an accepted mask."""
        return tuple(target for target, state in self._state.slices.items() if state.accepted is not None)

    # Undo

    @property
    def state(self) -> SessionState:
        """All that undo restores; an immutable value that can be compared."""
        return self._state

    @property
    def undo_label(self) -> str | None:
        """What :meth:`undo` would take back; None if there is nothing."""
        return self._undo[-1].label if self._undo else None

    @property
    def redo_label(self) -> str | None:
        """What :meth:`redo` would do again; None if there is nothing."""
        return self._redo[-1].label if self._redo else None

    def undo(self) -> frozenset[Target]:
        """Take back the last step; returns the targets to be shown anew, none if there was nothing to undo."""
        if not self._undo:
            return frozenset()
        command = self._undo.pop()
        self._redo.append(command)
        return self._apply(command.inverse())

    def redo(self) -> frozenset[Target]:
        """Do again what was undone last; returns the targets to be shown anew, none if there was nothing to redo."""
        if not self._redo:
            return frozenset()
        command = self._redo.pop()
        self._undo.append(command)
        return self._apply(command)

    # Storing

    def to_dict(self) -> dict[str, Any]:
        """The session for JSON: prompts, choices, fed-back and accepted masks; not the history of undo."""
        return {
            "version": SESSION_VERSION,
            "grid": {"shape": list(self.volume.shape), "ijk_to_ras": self.volume.ijk_to_ras.tolist()},
            "next_id": self._next_id,
            "prompts": prompts_to_list(self._state.prompts.values()),
            "slices": slices_to_list(self._state.slices),
        }

    @classmethod
    def from_dict(
        cls, content: Mapping[str, Any], volume: Volume, undo_limit: int = UNDO_LIMIT
    ) -> "InteractiveSession":
        """Open a stored session.

        On another grid than the one it was stored on, points, boxes and scribbles keep their places in RAS; what
        consists of pixels (mask prompts, fed-back and accepted masks, choices) cannot, and is left out.

        Raises:
            InputError: damaged content, or of another version.
            GeometryError: a prompt lies outside of the volume.
        """
        session = cls(volume, undo_limit)
        if not isinstance(content, Mapping) or content.get("version") != SESSION_VERSION:
            raise InputError("This is no session that this release can open; open it with the release that stored it.")
        try:
            prompts, slices = prompts_from_list(content["prompts"]), slices_from_list(content["slices"])
            next_id, same_grid = int(content["next_id"]), _is_grid(content["grid"], volume)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"The stored session is damaged ({error!r}); start a new one.") from error
        if not same_grid:
            prompts = {n: placed for n, placed in prompts.items() if not isinstance(placed.prompt, MaskPrompt)}
            slices = {}
        for placed in prompts.values():
            session._targets_of(placed)
        session._state = SessionState(prompts, slices)
        session._next_id = max([1, next_id, *(n + 1 for n in prompts)])
        return session

    # How it is done

    def _targets_of(self, placed: PlacedPrompt) -> KeysView[Target]:
        known = self._known_targets.get(placed.id)
        if known is not None and known[0] is placed:
            return known[1]
        if isinstance(placed.prompt, MaskPrompt) and placed.prompt.slice.axis != placed.axis:
            raise InputError(f"A mask of axis {placed.prompt.slice.axis} cannot prompt slices of axis {placed.axis}.")
        indices = slices_of(self.volume, placed.prompt, placed.axis)
        targets = dict.fromkeys(Target(placed.segment, SliceIndex(placed.axis, index)) for index in indices).keys()
        self._known_targets[placed.id] = placed, targets
        return targets

    def _placed(self, prompt_id: int) -> PlacedPrompt:
        if prompt_id not in self._state.prompts:
            raise InputError(f"There is no prompt {prompt_id} in this session; it may have been removed.")
        return self._state.prompts[prompt_id]

    def _current(self, target: Target) -> Candidates:
        candidates = self.candidates(target)
        if candidates is None:
            raise InputError("There is no mask for these prompts yet; wait for the model's answer.")
        return candidates

    def _new_feedback(self, target: Target) -> Feedback | None:
        candidates = self.candidates(target)
        if candidates is None:
            return self._state.of(target).feedback
        basis = tuple(placed.id for placed in self.prompts(target))
        return Feedback(PackedLogits.pack(candidates.mask_logits), basis)

    def _change_prompts(self, label: str, changes: list[PromptChange]) -> None:
        """Move or remove prompts: what was derived from them is dropped."""
        changed = {change.before.id for change in changes if change.before is not None}
        placed = (version for change in changes for version in (change.before, change.after) if version is not None)
        targets = frozenset(target for version in placed for target in self._targets_of(version))
        slices = []
        for target in targets:
            before = self._state.of(target)
            outdated = before.feedback is not None and not changed.isdisjoint(before.feedback.basis)
            slices.append((target, before, replace(before, choice=0, feedback=None if outdated else before.feedback)))
        self._do(label, changes, slices, targets)

    def _do(
        self,
        label: str,
        prompts: list[PromptChange],
        slices: list[tuple[Target, SliceState, SliceState]],
        reprompted: Iterable[Target],
    ) -> None:
        changes = tuple(SliceChange(target, before, after) for target, before, after in slices if before != after)
        command = Command(label, tuple(prompts), changes, frozenset(reprompted))
        self._undo.append(command)
        self._redo.clear()
        self._apply(command)

    def _apply(self, command: Command) -> frozenset[Target]:
        self._state = command.apply(self._state)
        for target in command.reprompted:
            self._revisions[target] = self.revision(target) + 1
            self._results.pop(target, None)
        return command.targets


def _is_grid(grid: Mapping[str, Any], volume: Volume) -> bool:
    affine = np.array(grid["ijk_to_ras"], dtype=np.float64)
    return tuple(grid["shape"]) == volume.shape and np.allclose(affine, volume.ijk_to_ras, rtol=0, atol=_GRID_TOLERANCE)
