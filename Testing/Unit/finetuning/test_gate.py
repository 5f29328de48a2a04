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


@pytest.mark.parametrize(
    ("boxes", "verdict"),
    [((0.9, 0.9), "accepted"), ((0.895, 0.885), "accepted"), ((0.9, 0.87), "refused"), ((0.95, 0.98), "accepted")],
)
def test_boxes_must_not_be_answered_worse(boxes, verdict):
    before, after = scores(1, 0.6, 0.6), scores(1, 0.7, 0.7)
    evidence = judge(before, after, (LIVER,), "one click", (scores(1, 0.9, 0.9), scores(1, *boxes)))
    assert evidence.verdict == verdict and evidence.gain == pytest.approx(0.1)
    assert evidence.box_change == pytest.approx(sum(boxes) / 2 - 0.9)
    assert f"+0.100 Dice on 2 held-out slices (one click), {evidence.box_change:+.3f} with a box" in evidence.sentence()
    assert ("-0.01 is needed" in evidence.sentence()) == (verdict == "refused")
    assert evidence.table().splitlines()[1].split()[-2:] == ["0.900", f"{sum(boxes) / 2:.3f}"]
    assert Evidence.from_dict(evidence.to_dict()) == evidence
    # Better answers to boxes do not make up for clicks.
    assert judge(before, before, (LIVER,), "one click", (scores(1, 0.5, 0.5), scores(1, 0.9, 0.9))).verdict == "refused"


def test_a_structure_that_loses_is_named():
    before, after = scores(1, 0.5, 0.5) + scores(2, 0.8, 0.8), scores(1, 0.9, 0.9) + scores(2, 0.7, 0.8)
    evidence = judge(before, after, (LIVER, SPLEEN), "no prompts")
    assert evidence.accepted and evidence.sentence().endswith("(no prompts). Worse: spleen -0.050.")
    close = judge(before, after[:2] + scores(2, 0.795, 0.795), (LIVER, SPLEEN), "no prompts")
    assert close.accepted and "Worse" not in close.sentence()


def test_records_from_before_boxes_counted_can_be_read():
    content = judge(scores(1, 0.6, 0.6), scores(1, 0.7, 0.7), (LIVER,), "one click").to_dict()
    del content["box_change"], content["classes"][0]["base_box"], content["classes"][0]["adapted_box"]
    assert Evidence.from_dict(content).accepted and "box" not in Evidence.from_dict(content).sentence()


def test_nothing_found_has_no_distance():
    evidence = judge([SliceScore(0, 1, 0.0, float("inf"))] * 2, scores(1, 0.9, 0.9), (LIVER,), "one click")
    assert evidence.classes[0].base_hd95 is None
    assert " - " in evidence.table()
