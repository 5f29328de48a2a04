"""How long training lasts, and how the learning rate goes."""

from dataclasses import asdict, dataclass, replace
from math import cos, pi
from typing import Any, Literal

from SAMFinetuneLogic.finetuning.augmenting import FAITHFUL, RECOMMENDED, Augmentation
from SAMFinetuneLogic.finetuning.strategy import Mode

Decay = Literal["cosine", "polynomial"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class LoopSettings:
    """Everything about the loop that decides what is learned; the strategy decides the rest.

    Attributes:
        steps: at most; early stopping may end sooner.
        epoch_steps: steps of an epoch, after which a checkpoint is written and, if there are slices for it, the
            adapter is validated. None: one pass over the training slices.
        batch: slices a step.
        prompts: simulated prompts a slice (prompt mode).
        accumulate: in how many parts a step's slices are sent through the network, for small GPUs.
        checkpointing: keep only the encoder blocks' inputs and compute them anew on the way back: slower, smaller.
        precision: of the arithmetic; "auto" takes bf16 or fp16 where the device computes in it.
        warmup: steps of linear warm-up.
        decay: of the learning rate after it, to zero at the last step.
        validate_every: epochs between two validations.
        patience: epochs without gain before training stops.
        faithful_augmentation: paper A's augmentation instead of ours.
        views: augmented copies of each slice that are kept, where frozen layers make it pay to run them only once.
        empty_share: largest share of empty slices among the training slices (automatic mode; a prompt on an empty
            slice has no meaning).
        seed: the same seed gives the same adapter on the same machine.
    """

    steps: int = 100
    epoch_steps: int | None = 10
    batch: int = 4
    prompts: int = 1
    accumulate: int = 1
    checkpointing: bool = False
    precision: Precision = "auto"
    warmup: int = 10
    decay: Decay = "cosine"
    validate_every: int = 1
    patience: int = 4
    faithful_augmentation: bool = False
    views: int = 12
    empty_share: float = 0.2
    seed: int = 0

    @property
    def augmentation(self) -> Augmentation:
        """What the views may look like."""
        return FAITHFUL if self.faithful_augmentation else RECOMMENDED

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "LoopSettings":
        """The inverse of :meth:`to_dict`; TypeError for keys that are no settings."""
        return cls(**content)

    def rate(self, step: int) -> float:
        """Factor of the learning rate at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return (1 - done) ** 0.9 if self.decay == "polynomial" else 0.5 * (1 + cos(pi * done))


FAITHFUL_EPOCHS, FAITHFUL_BATCH, FAITHFUL_WARMUP = 200, 4, 200


def settings_for(preset: str, training_slices: int, mode: Mode = "prompts", **changes: Any) -> LoopSettings:
    """The loop of a preset.

    ``faithful`` is paper A's: batches of 4, 200 epochs at most, 200 steps of warm-up, polynomial decay, validation
    every second epoch, stop after 20 epochs without gain. ``recommended`` is short enough to be waited for, and
    takes more steps for more slices; in automatic mode it takes twice as many, since the class outputs begin anew.

    Args:
        changes: settings of the user's, which go before the preset's.
    """
    if preset == "faithful":
        per_epoch = max(1, -(-training_slices // FAITHFUL_BATCH))
        settings = LoopSettings(
            steps=FAITHFUL_EPOCHS * per_epoch,
            epoch_steps=per_epoch,
            batch=FAITHFUL_BATCH,
            warmup=min(FAITHFUL_WARMUP, FAITHFUL_EPOCHS * per_epoch // 2),
            decay="polynomial",
            validate_every=2,
            patience=20,
            faithful_augmentation=True,
        )
    else:
        steps = min(400, max(100, 10 * training_slices)) * (2 if mode == "automatic" else 1)
        settings = LoopSettings(steps=steps, warmup=steps // 10)
    given = {name: value for name, value in changes.items() if value is not None}
    if "steps" in given and "warmup" not in given:
        given["warmup"] = min(settings.warmup, given["steps"] // 2)
    return replace(settings, **given)
