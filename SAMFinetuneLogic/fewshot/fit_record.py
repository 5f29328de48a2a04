"""How a few-shot decoder was trained. Knows no torch: the user interface shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FitRecord:
    """What happened in training.

    Attributes:
        steps: that were taken.
        losses: of each.
        held_out: title of the slice that decided when to stop; None where the loss did.
        held_out_dice: (step, Dice) of each check on it.
        seconds: encoding the views, and training.
        slices: titles of the slices that were learned from.
        warm: whether it continued an earlier fit.
    """

    steps: int
    losses: tuple[float, ...]
    held_out: str | None
    held_out_dice: tuple[tuple[int, float], ...]
    seconds: tuple[float, float]
    slices: tuple[str, ...]
    warm: bool

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {
            "steps": self.steps,
            "losses": [round(loss, 5) for loss in self.losses],
            "held_out": self.held_out,
            "held_out_dice": [[step, round(dice, 4)] for step, dice in self.held_out_dice],
            "seconds": [round(part, 2) for part in self.seconds],
            "slices": list(self.slices),
            "warm": self.warm,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "FitRecord":
        return cls(
            steps=int(content["steps"]),
            losses=tuple(float(loss) for loss in content["losses"]),
            held_out=content["held_out"],
            held_out_dice=tuple((int(step), float(dice)) for step, dice in content["held_out_dice"]),
            seconds=(float(content["seconds"][0]), float(content["seconds"][1])),
            slices=tuple(content["slices"]),
            warm=bool(content["warm"]),
        )
