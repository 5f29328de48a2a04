import numpy as np
import pytest
from scipy import stats

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.picture import worst_sheet
from SAMFinetuneLogic.evaluation.protocols import Settings
from SAMFinetuneLogic.evaluation.protocols.base import Column
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.results import Result
from SAMFinetuneLogic.evaluation.runner import evaluate
from SAMFinetuneLogic.evaluation.worst import find_worst, format_worst

DICE = Column("dice", "Dice")
DISTANCE = Column("hd95", "HD95 mm", 1, higher_is_better=False)


def make_result(case, label, dice, area=5.0):
    traits = {"area": area, "contrast": 2.0, "parts": 1.0, "compactness": 0.9, "side": 30.0}
    scores = {"model": {"dice": dice, "hd95": 100 * (1 - dice)}}
    return Result(case, "CT", "i", "l", label, f"organ {label}", "k", 4, 99, scores, {}, (), traits)


@pytest.fixture
def a_report():
    results = [
        make_result("one", 1, 0.9, area=1),
        make_result("one", 2, 0.1, area=40),
        make_result("two", 1, 0.4, area=8),
        make_result("two", 2, 0.3, area=9),
        make_result("three", 1, 0.95, area=2),
    ]
    return EvaluationReport.of("box", (DICE, DISTANCE), {"id": "m"}, {}, results)


@pytest.mark.parametrize("ranking", [DICE, DISTANCE])
def test_cases_go_by_their_mean_and_structures_by_their_own_score(a_report, ranking):
    worst = find_worst(a_report, ranking, 2)

    assert [case for case, _ in worst.cases] == ["two", "one"]
    assert [(result.case, result.label) for result in worst.of_cases] == [("two", 2), ("one", 2)]
    assert [(result.case, result.label) for result in worst.structures] == [("one", 2), ("two", 2)]


def test_the_tables_hold_the_traits_and_what_stands_out(a_report):
    text = format_worst(find_worst(a_report, DICE, 2))

    line = next(line for line in text.splitlines() if line.startswith("one, organ 2 (k 4)"))
    assert line.split("  ")[0] == "one, organ 2 (k 4)"
    assert "0.500" in line and "0.100" in line and "40" in line and line.rstrip().endswith("fills much of the slice")
    expected = stats.spearmanr([1, 40, 8, 9, 2], [0.9, 0.1, 0.4, 0.3, 0.95]).statistic
    assert f"area % {expected:+.2f}" in text
    assert "contrast" not in text.splitlines()[-1]  # the same for all


def test_more_than_there_are_is_all_of_them(a_report):
    worst = find_worst(a_report, DICE, 50)

    assert (len(worst.cases), len(worst.structures)) == (3, 5)


def test_baselines_alone_have_no_worst_cases():
    result = Result("one", "CT", "i", "l", 1, "n", "k", 0, 99, {"ellipse": {"dice": 0.5}})

    with pytest.raises(InputError, match="evaluate a model"):
        find_worst(EvaluationReport.of("box", (DICE,), None, {}, [result]), DICE, 5)


def test_the_sheet_shows_them_again(a_manifest_file, a_segmenter):
    manifest = read_manifest(a_manifest_file)
    report = evaluate(manifest, "box", a_segmenter, Settings(baselines=False))
    worst = find_worst(report, DICE, 2)
    a_segmenter.opened.clear()

    picture = np.asarray(worst_sheet(worst, report, manifest, a_segmenter))

    shown = [result.key for result in (*worst.of_cases, *worst.structures)]
    assert a_segmenter.opened == list(dict.fromkeys(shown)), "each structure once"
    assert picture.shape[1] > 900 and picture.std() > 10
