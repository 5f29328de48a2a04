import pytest

from SAMFinetuneLogic.finetuning.gate import Evidence, judge
from SAMFinetuneLogic.finetuning.scoring import SliceScore
from SAMFinetuneLogic.imaging.labels import Segment

LIVER, SPLEEN = Segment(1, "liver", (1, 0, 0)), Segment(2, "spleen", (0, 1, 0))


def scores(value, *dices):
    return [SliceScore(n, value, dice, 10 * (1 - dice)) for n, dice in enumerate(dices)]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((0.6, 0.7), (0.8, 0.9), "accepted"),
        ((0.6, 0.6), (0.62, 0.62), "accepted"),
        ((0.6, 0.6), (0.61, 0.62), "refused"),
        ((0.6, 0.7), (0.5, 0.9), "accepted"),
        ((0.9, 0.9), (0.2, 0.3), "refused"),
        ((0.1,), (0.9,), "not enough evidence"),
    ],
)
def test_verdicts(before, after, verdict):
    evidence = judge(scores(1, *before), scores(1, *after), (LIVER,), "one click")
    assert evidence.verdict == verdict
    assert evidence.accepted == (verdict == "accepted")
    assert evidence.slices == len(before)
    assert Evidence.from_dict(evidence.to_dict()) == evidence


def test_each_class_counts_the_same_and_stands_in_the_table():
    before = scores(1, 0.5, 0.5, 0.5, 0.5) + scores(2, 0.9)
    after = scores(1, 0.54, 0.54, 0.54, 0.54) + scores(2, 0.8)
    evidence = judge(before, after, (LIVER, SPLEEN), "one click")
    assert evidence.gain == pytest.approx(-0.03)
    assert evidence.verdict == "refused"
    lines = evidence.table().splitlines()
    assert lines[1].split() == ["liver", "4", "0.500", "0.540", "5.0", "4.6"]
    assert lines[2].split() == ["spleen", "1", "0.900", "0.800", "1.0", "2.0"]
    assert "Refused: -0.030 Dice on 4 held-out slices" in evidence.sentence()


def test_nothing_found_has_no_distance():
    evidence = judge([SliceScore(0, 1, 0.0, float("inf"))] * 2, scores(1, 0.9, 0.9), (LIVER,), "one click")
    assert evidence.classes[0].base_hd95 is None
    assert " - " in evidence.table()
