"""The training loop: epochs, validation, early stopping, and checkpoints from which it resumes exactly."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.finetuning.adapt import Adapted
from SAMFinetuneLogic.finetuning.batches import BatchMaker
from SAMFinetuneLogic.finetuning.determinism import same_numbers_each_time
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.splitting import Split
from SAMFinetuneLogic.finetuning.steps import Stepper
from SAMFinetuneLogic.finetuning.training_state import STARTS_ANEW, TrainingState, has_state, load_state, save_state
from SAMFinetuneLogic.finetuning.validation import validation_dice
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled

Event = dict[str, Any]
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener for callers that do not want to hear."""


@dataclass(frozen=True)
class TrainingRecord:
    """What happened.

    Attributes:
        steps: taken.
        best_step: after which the kept weights were reached.
        history: by epoch: step, loss, Dice on training batches and, where there is one, on the validation slices.
        seconds: of training, over all runs.
        stopped_early: whether validation ended it.
        resumed_at: the step that this run began with.
        notices: sentences for the user.
    """

    steps: int
    best_step: int
    history: tuple[dict[str, float], ...]
    seconds: float
    stopped_early: bool
    resumed_at: int
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {**vars(self), "history": list(self.history), "seconds": round(self.seconds, 1)}


def train(
    adapted: Adapted,
    model: LoadedModel,
    data: LabelledSet,
    split: Split,
    settings: LoopSettings,
    folder: Path | None = None,
    listener: Listener = ignore,
    cancelled: CancelCheck | None = None,
) -> TrainingRecord:
    """Train ``adapted`` in place, from the last checkpoint in ``folder`` if there is one of the same plan.

    A run that was killed and started again ends at the same weights as one that was never stopped, on the same
    machine with the same number of threads. With validation slices, the weights of the best validation are kept.

    Args:
        model: the base.
        folder: for checkpoints; None writes none.
        listener: is told of each step and epoch.

    Raises:
        InputError: the structures are too small for the model to see.
        ModelError: memory does not suffice for one slice, or training diverges.
        OutputError: the checkpoint cannot be written.
        Cancelled: on request; the last checkpoint stays.
    """
    maker = ViewMaker(model, data.values)
    stepper = Stepper(adapted, model, settings)
    prompted = adapted.mode == "prompts"
    batches = BatchMaker(data, split.train, maker, settings, prompted, stepper.keeps_prefix)
    state, notices = _start(adapted, stepper, data, split, settings, folder)
    resumed_at = state.step
    for text in notices:
        listener({"event": "notice", "text": text})
    listener({"event": "start", "step": state.step, "steps": settings.steps, "history": list(state.history)})
    epoch_steps = settings.epoch_steps or max(1, -(-len(batches.items) // settings.batch))
    checked = data.subset(split.validation)
    started, before = time.monotonic(), state.seconds
    sums: dict[str, float] = {}
    with same_numbers_each_time():
        while state.step < settings.steps and not state.finished:
            raise_if_cancelled(cancelled)
            report = stepper.step(batches.batch(state.step), state.step)
            state.step += 1
            state.seconds = before + time.monotonic() - started
            for name, value in report.items():
                sums[name] = sums.get(name, 0.0) + value
            for text in _read(stepper, notices):
                listener({"event": "notice", "text": text})
            listener({"event": "step", "step": state.step, "steps": settings.steps, "seconds": state.seconds, **report})
            if state.step % epoch_steps and state.step < settings.steps:
                continue
            line = {name: round(value / _length(state.step, epoch_steps), 5) for name, value in sums.items()}
            line = {"step": float(state.step), **line}
            sums = {}
            epoch = -(-state.step // epoch_steps)
            if checked.slices and (epoch % settings.validate_every == 0 or state.step == settings.steps):
                line["validation_dice"] = _validate(adapted, model, checked, maker, state, settings)
            state.history.append(line)
            if folder is not None:
                _store(adapted, stepper, state)
                save_state(folder, state)
            listener({"event": "epoch", **line, "seconds": state.seconds})
    if state.best is not None:
        adapted.load_trainable_state(state.best)
    adapted.eval_mode()
    return TrainingRecord(
        state.step,
        state.best_step if state.best is not None else state.step,
        tuple(state.history),
        state.seconds,
        state.finished and state.step < settings.steps,
        resumed_at,
        tuple(notices),
    )


def plan_of(adapted: Adapted, model: LoadedModel, data: LabelledSet, split: Split, settings: LoopSettings) -> str:
    """Fingerprint of all that decides the outcome."""
    digest = hashlib.sha256()
    strategy = adapted.strategy.to_json()
    facts = [strategy, adapted.mode, list(adapted.classes), model.weights_sha256, split.to_dict(), settings.to_dict()]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for entry in data.slices:
        digest.update(entry.image.content_hash.encode())
        digest.update(entry.labels.tobytes())
    return digest.hexdigest()


def _start(
    adapted: Adapted, stepper: Stepper, data: LabelledSet, split: Split, settings: LoopSettings, folder: Path | None
) -> tuple[TrainingState, list[str]]:
    """The state to go on from; adapted and optimiser are put into it."""
    plan = plan_of(adapted, stepper.model, data, split, settings)
    fresh = TrainingState(plan, accumulate=settings.accumulate, checkpointing=settings.checkpointing)
    if folder is None:
        return fresh, []
    state = load_state(folder, plan)
    if state is None:
        return fresh, [STARTS_ANEW] if has_state(folder) else []
    adapted.load_trainable_state(state.weights)
    stepper.optimiser.load_state_dict(state.optimiser)
    stepper.scaler.load_state_dict(state.scaler)
    stepper.accumulate, stepper.checkpointing = state.accumulate, state.checkpointing
    return state, []


def _store(adapted: Adapted, stepper: Stepper, state: TrainingState) -> None:
    state.weights = {name: tensor.detach().cpu() for name, tensor in adapted.trainable_state().items()}
    state.optimiser, state.scaler = stepper.optimiser.state_dict(), stepper.scaler.state_dict()
    state.accumulate, state.checkpointing = stepper.accumulate, stepper.checkpointing


def _validate(
    adapted: Adapted,
    model: LoadedModel,
    checked: LabelledSet,
    maker: ViewMaker,
    state: TrainingState,
    settings: LoopSettings,
) -> float:
    """Dice on the validation slices; keeps the best weights and notes when there is no more to gain."""
    dice = validation_dice(adapted, model, checked, maker)
    if dice > state.best_dice:
        state.best_dice, state.best_step, state.stale = dice, state.step, 0
        state.best = {name: tensor.detach().cpu().clone() for name, tensor in adapted.trainable_state().items()}
    else:
        state.stale += 1
        state.finished = state.stale > settings.patience
    return round(dice, 5)


def _length(step: int, epoch_steps: int) -> int:
    """Steps of the epoch that ends at ``step``."""
    return step % epoch_steps or epoch_steps


def _read(stepper: Stepper, notices: list[str]) -> list[str]:
    new, stepper.notices = stepper.notices, []
    notices += new
    return new
