"""Evidence before trust: an adapter is offered only if it is better than the base on slices used for nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np

from SAMFinetuneLogic.finetuning.scoring import SliceScore
from SAMFinetuneLogic.imaging.labels import Segment

GAIN = 0.02
"""Mean Dice by which an adapter must be better."""
MIN_SLICES = 2
"""On fewer slices a difference is an accident."""

Verdict = Literal["accepted", "refused", "not enough evidence"]


@dataclass(frozen=True)
class ClassEvidence:
    """One class on the gate's slices.

    Attributes:
        name, value: of the class.
        slices: behind the figures.
        base_dice, adapted_dice: means.
        base_hd95, adapted_hd95: means in mm; None where one side found nothing.
    """

    name: str
    value: int
    slices: int
    base_dice: float
    adapted_dice: float
    base_hd95: float | None
    adapted_hd95: float | None


@dataclass(frozen=True)
class Evidence:
    """The gate's answer.

    Attributes:
        verdict: of the gate; the user has the last word.
        gain: mean Dice over the classes, adapted less base.
        slices: of the gate with a structure on them or, without prompts, where one was found.
        classes: the table.
        task: what was measured, in words.
    """

    verdict: Verdict
    gain: float
    slices: int
    classes: tuple[ClassEvidence, ...]
    task: str

    @property
    def accepted(self) -> bool:
        return self.verdict == "accepted"

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {**vars(self), "classes": [dict(vars(entry)) for entry in self.classes]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Evidence":
        return cls(**{**content, "classes": tuple(ClassEvidence(**entry) for entry in content["classes"])})

    def sentence(self) -> str:
        """For the user."""
        if self.verdict == "not enough evidence":
            held = "1 slice was" if self.slices == 1 else f"{self.slices} slices were"
            return (
                f"Not enough evidence: only {held} held out, and at least {MIN_SLICES} are needed to compare; the "
                "adapter stays off until you switch it on. Annotate more slices and train again."
            )
        change = f"{self.gain:+.3f} Dice on {self.slices} held-out slices ({self.task})"
        if self.accepted:
            return f"Accepted: {change}."
        return f"Refused: {change}, but at least {GAIN:+.2f} is needed; the adapter stays off."

    def table(self) -> str:
        """The figures of each class as text."""
        rows = [("class", "slices", "Dice base", "adapted", "HD95 mm base", "adapted")]
        for entry in self.classes:
            texts = [f"{entry.base_dice:.3f}", f"{entry.adapted_dice:.3f}"]
            texts += ["-" if figure is None else f"{figure:.1f}" for figure in (entry.base_hd95, entry.adapted_hd95)]
            rows.append((entry.name, str(entry.slices), texts[0], texts[1], texts[2], texts[3]))
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join(lines)


def judge(
    base: Sequence[SliceScore], adapted: Sequence[SliceScore], segments: Sequence[Segment], task: str
) -> Evidence:
    """Compare two lists of scores of the same slices.

    Args:
        base, adapted: of the model before and after.
        segments: the classes.
        task: what was measured, in words.
    """
    classes = []
    for segment in segments:
        after = [score for score in adapted if score.value == segment.value]
        before = [score for score in base if score.value == segment.value]
        if not after and not before:
            continue
        classes.append(
            ClassEvidence(
                segment.name,
                segment.value,
                len({score.slice for score in (*after, *before)}),
                _mean([score.dice for score in before]) or 0.0,
                _mean([score.dice for score in after]) or 0.0,
                _mean([score.hd95 for score in before]),
                _mean([score.hd95 for score in after]),
            )
        )
    slices = len({score.slice for score in (*adapted, *base)})
    gains = [entry.adapted_dice - entry.base_dice for entry in classes]
    gain = round(float(np.mean(gains)), 6) if gains else 0.0
    verdict: Verdict = "accepted" if gain >= GAIN else "refused"
    if slices < MIN_SLICES:
        verdict = "not enough evidence"
    return Evidence(verdict, gain, slices, tuple(classes), task)


def _mean(values: Sequence[float]) -> float | None:
    """None for no values, or where one of them is infinite."""
    if not values or not all(isfinite(value) for value in values):
        return None
    return round(float(np.mean(values)), 4)
