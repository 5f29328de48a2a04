"""Expected errors in closed form."""

import pytest

from SAMFinetuneLogic.propagation.fusion import Opinion
from SAMFinetuneLogic.propagation.levels import nothing
from SAMFinetuneLogic.propagation.reliability import LEAST, WORST, ErrorCurve, Evidence, expected_error

CURVE = ErrorCurve(0.1, 0.1)


def seen(*dices: float, gaps: float = 1.0) -> list[Evidence]:
    return [Evidence("a", 1, index, dice, gaps) for index, dice in enumerate(dices)]


def test_without_evidence_the_curve_counts():
    assert expected_error(CURVE, [], 0.0) == pytest.approx(0.1)
    assert expected_error(CURVE, [], 2.0) == pytest.approx(0.3)
    assert expected_error(CURVE, seen(0.4, gaps=float("inf")), 2.0) == pytest.approx(0.3)


def test_evidence_that_the_curve_foretold_changes_nothing():
    assert expected_error(CURVE, seen(0.8, 0.7, 0.9), 2.0) == pytest.approx(0.3)


def test_evidence_scales_the_odds_and_the_curve_counts_as_one_slice():
    # Expected a gap away: 0.2, odds 1/4. Found 0.5, odds 1: four times as high, of which one slice tells half, three
    # slices three quarters.
    for count, factor in ((1, 4**0.5), (3, 4**0.75)):
        odds = factor * 0.3 / 0.7
        assert expected_error(CURVE, seen(*[0.5] * count), 2.0) == pytest.approx(odds / (1 + odds))


def test_better_than_expected_is_believed_less():
    # Found 0.05, odds 1/19: 4/19 of what was expected. The curve's own 1 counts as one slice of four.
    odds = (1 + 3 * 4 / 19) / 4 * 0.3 / 0.7
    assert expected_error(CURVE, seen(0.95, 0.95, 0.95), 2.0) == pytest.approx(odds / (1 + odds))


def test_errors_stay_within_what_is_believed():
    assert expected_error(CURVE, seen(*[0.0] * 9), 20.0) <= WORST
    assert expected_error(ErrorCurve(0.02, 0.1), seen(*[1.0] * 9), 0.0) == pytest.approx(LEAST)


def test_among_poor_candidates_the_better_one_counts():
    """All are wrong about most of each left-out slice; the one that is right about some of it outweighs the other."""
    better, worse = expected_error(CURVE, seen(*[0.43] * 5), 0.5), expected_error(CURVE, seen(*[0.05] * 5), 0.5)
    weights = [Opinion("a", nothing((4, 4)), error).weight for error in (better, worse)]
    assert weights[0] > 100 * weights[1]
