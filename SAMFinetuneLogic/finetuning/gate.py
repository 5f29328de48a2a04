"""Evidence before trust: an adapter is offered only if it is better than the base on slices used for nothing else.

It takes the base's place for every prompt. So it has to answer one click better, and must not answer boxes worse: on
the few slices that a user can spare, a model that has been bent to them shows itself there first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np

from SAMFinetuneLogic.finetuning.scoring import SliceScore
from SAMFinetuneLogic.imaging.labels import Segment

GAIN = 0.02
"""Mean Dice by which an adapter must be better."""
BOX_LOSS = 0.01
"""Mean Dice by which its answers to boxes may be worse."""
CLASS_LOSS = 0.01
"""A structure that loses more is named, also where the others gain."""
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
        base_box, adapted_box: mean Dice with a box; None in automatic mode.
    """

    name: str
    value: int
    slices: int
    base_dice: float
    adapted_dice: float
    base_hd95: float | None
    adapted_hd95: float | None
    base_box: float | None = None
    adapted_box: float | None = None


@dataclass(frozen=True)
class Evidence:
    """The gate's answer.

    Attributes:
        verdict: of the gate; the user has the last word.
        gain: mean Dice over the classes, adapted less base.
        slices: of the gate with a structure on them or, without prompts, where one was found.
        classes: the table.
        task: what was measured, in words.
        box_change: mean Dice with a box over the classes, adapted less base; None in automatic mode.
    """

    verdict: Verdict
    gain: float
    slices: int
    classes: tuple[ClassEvidence, ...]
    task: str
    box_change: float | None = None

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
        if self.gain < GAIN:
            return f"Refused: {change}, but at least {GAIN:+.2f} is needed; the adapter stays off."
        boxes = "" if self.box_change is None else f", {self.box_change:+.3f} with a box"
        if not self.accepted:
            return f"Refused: {change}{boxes}, where at least {-BOX_LOSS:+.2f} is needed; the adapter stays off."
        lost = [(entry.name, entry.adapted_dice - entry.base_dice) for entry in self.classes]
        names = ", ".join(f"{name} {loss:+.3f}" for name, loss in lost if loss < -CLASS_LOSS)
        return f"Accepted: {change}{boxes}.{f' Worse: {names}.' if names else ''}"

    def table(self) -> str:
        """The figures of each class as text."""
        with_boxes = self.box_change is not None
        heads = ["class", "slices", "Dice base", "adapted", "HD95 mm base", "adapted"]
        rows = [heads + (["box: Dice base", "adapted"] if with_boxes else [])]
        for entry in self.classes:
            texts = [entry.name, str(entry.slices), f"{entry.base_dice:.3f}", f"{entry.adapted_dice:.3f}"]
            texts += ["-" if figure is None else f"{figure:.1f}" for figure in (entry.base_hd95, entry.adapted_hd95)]
            if with_boxes:
                boxed = (entry.base_box, entry.adapted_box)
                texts += ["-" if figure is None else f"{figure:.3f}" for figure in boxed]
            rows.append(texts)
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
    base: Sequence[SliceScore],
    adapted: Sequence[SliceScore],
    segments: Sequence[Segment],
    task: str,
    boxes: tuple[Sequence[SliceScore], Sequence[SliceScore]] | None = None,
) -> Evidence:
    """Compare two lists of scores of the same slices.

    Args:
        base, adapted: of the model before and after.
        segments: the classes.
        task: what was measured, in words.
        boxes: the scores of both with boxes; None in automatic mode.
    """
    boxed_base, boxed_adapted = boxes or ((), ())
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
                _mean([score.dice for score in boxed_base if score.value == segment.value]),
                _mean([score.dice for score in boxed_adapted if score.value == segment.value]),
            )
        )
    slices = len({score.slice for score in (*adapted, *base)})
    gains = [entry.adapted_dice - entry.base_dice for entry in classes]
    gain = round(float(np.mean(gains)), 6) if gains else 0.0
    changes = [
        entry.adapted_box - entry.base_box
        for entry in classes
        if entry.adapted_box is not None and entry.base_box is not None
    ]
    box_change = round(float(np.mean(changes)), 6) if changes else None
    no_harm = box_change is None or box_change >= -BOX_LOSS
    verdict: Verdict = "accepted" if gain >= GAIN and no_harm else "refused"
    if slices < MIN_SLICES:
        verdict = "not enough evidence"
    return Evidence(verdict, gain, slices, tuple(classes), task, box_change)


def _mean(values: Sequence[float]) -> float | None:
    """None for no values, or where one of them is infinite."""
    if not values or not all(isfinite(value) for value in values):
        return None
    return round(float(np.mean(values)), 4)
