"""How much error to expect of a candidate: a prior that grows with distance, scaled by what annotated slices show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.propagation.annotations import Annotations

LEAST, WORST = 0.01, 0.95
"""Errors (1 - Dice) that are believed."""
_PRIOR_WEIGHT = 1.0


@dataclass(frozen=True)
class ErrorCurve:
    """Expected 1 - Dice: ``at_hand`` next to an annotated slice, ``slope`` more for each gap of distance."""

    at_hand: float
    slope: float

    def at(self, gaps: float) -> float:
        """At a distance in gaps between annotated slices."""
        return float(min(self.at_hand + self.slope * gaps, WORST))


@dataclass(frozen=True)
class Evidence:
    """A segment on an annotated slice, predicted from the others.

    Attributes:
        candidate: its name.
        value, index: the segment and the slice.
        dice: with what is drawn.
        gaps: the distance of the annotations used, in gaps.
    """

    candidate: str
    value: int
    index: int
    dice: float
    gaps: float


def expected_error(
    curve: ErrorCurve, evidence: Iterable[Evidence], gaps: float, prior_weight: float = _PRIOR_WEIGHT
) -> float:
    """The expected error at a distance.

    What was wrong with the curve is told in odds, the error to what is right: whoever is right about half of a left-out
    slice and whoever misses it altogether differ by far, though no error exceeds 1.

    Args:
        curve: before anything is known.
        evidence: of one candidate and one segment. Their mean error says by which factor the curve's odds were wrong;
            the curve itself counts as ``prior_weight`` slices: in the geometric mean where they are worse, in the
            arithmetic one where they are better, which may be luck and is believed less.
    """
    seen = [(1 - each.dice, curve.at(each.gaps)) for each in evidence if np.isfinite(each.gaps)]
    if not seen:
        return scaled_error(curve, 1.0, gaps)
    error, expected = np.mean(seen, axis=0)
    ratio, count = odds(error) / odds(expected), len(seen)
    if ratio > 1:
        factor = ratio ** (count / (count + prior_weight))
    else:
        factor = (prior_weight + count * ratio) / (prior_weight + count)
    found = factor * odds(curve.at(gaps))
    return float(np.clip(found / (1 + found), LEAST, WORST))


def odds(error: float) -> float:
    """Error to what is right, for an error (1 - Dice) kept within what is believed: LEAST to WORST."""
    kept = float(np.clip(error, LEAST, WORST))
    return kept / (1 - kept)


def error_factor(seen: Sequence[tuple[float, float]], prior_weight: float = _PRIOR_WEIGHT) -> float:
    """By which factor errors differ from what was expected of them: the mean over (error, expected error).

    The expectation itself counts as ``prior_weight`` observations.
    """
    factors = [error / max(expected, 1e-3) for error, expected in seen]
    return (prior_weight + sum(factors)) / (prior_weight + len(factors)) if prior_weight + len(factors) else 1.0


def scaled_error(curve: ErrorCurve, factor: float, gaps: float) -> float:
    """The curve's error at a distance times a factor, within what an error can be."""
    return float(np.clip(factor * curve.at(gaps), LEAST, WORST))


def typical_gap(annotations: Annotations, value: int) -> float:
    """The median distance between neighbouring drawn slices, in slices.

    For a single one it is what a round structure of that cross-section would reach to each side.
    """
    drawn = annotations.present(value)
    if len(drawn) > 1:
        return float(np.median(np.diff(drawn)))
    area = np.count_nonzero(annotations.masks[value][drawn[0]]) * annotations.spacing[0] * annotations.spacing[1]
    return max(1.0, float(np.sqrt(area / np.pi) / annotations.step))
