"""The state of a training on disk: what it takes to go on as if it had never stopped."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from SAMFinetuneLogic.models.tensor_files import write_state

CHECKPOINT = "checkpoint.pt"
STARTS_ANEW = "The last checkpoint is of another plan or cannot be read: training starts anew."
_VERSION = 1


@dataclass
class TrainingState:
    """Where a training stands.

    Attributes:
        plan: fingerprint of data, strategy and settings; a state of another plan is of no use.
        step: steps taken.
        weights: the trained tensors.
        optimiser: its state.
        scaler: of fp16's gradient scaling.
        best: trained tensors with the best validation Dice so far, None without validation.
        best_dice, best_step: of those.
        stale: validations without gain since.
        accumulate: parts of a step's batch; grows when memory runs out.
        checkpointing: whether it is on; it goes on when memory runs out.
        history: one record for each epoch.
        seconds: of training so far.
    """

    plan: str
    step: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    best: dict[str, torch.Tensor] | None = None
    best_dice: float = -1.0
    best_step: int = 0
    stale: int = 0
    accumulate: int = 1
    checkpointing: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False


def save_state(folder: Path, state: TrainingState) -> None:
    """Write the checkpoint; an older one stays until the new one is complete.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    write_state(folder / CHECKPOINT, {"version": _VERSION, **vars(state)})


def has_state(folder: Path) -> bool:
    """Whether there is a checkpoint, of whatever plan and readable or not."""
    return (folder / CHECKPOINT).exists()


def load_state(folder: Path, plan: str) -> TrainingState | None:
    """The last checkpoint of this plan; None where there is none, or none that can be read."""
    path = folder / CHECKPOINT
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("version") != _VERSION or content["plan"] != plan:
            return None
        return TrainingState(**content)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, AttributeError, pickle.UnpicklingError):
        return None
