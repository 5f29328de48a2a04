import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from SAMFinetuneLogic.evaluation.candidate_ranks import rank_correlation, rank_correlation_within
from SAMFinetuneLogic.evaluation.protocols.base import Column
from SAMFinetuneLogic.evaluation.report import EvaluationReport, Mean
from SAMFinetuneLogic.evaluation.results import Result
from SAMFinetuneLogic.evaluation.tables import format_report

COLUMNS = (Column("dice", "Dice"), Column("clicks", "NoC", 1, higher_is_better=False))


def make_result(case, modality, label, value, sweeps=None, candidates=()):
    scores = {"model": {"dice": value, "clicks": 10 - 10 * value}, "simple": {"dice": value / 2}}
    return Result(case, modality, "i.nii", "l.nii", label, "name", "k", 3, 99, scores, sweeps or {}, candidates)


@pytest.fixture
def a_report():
    results = [
        make_result("one", "CT", 1, 0.2, candidates=[(0.9, 0.3), (0.5, 0.4), (0.4, 0.1)]),
        make_result("one", "CT", 2, 0.4),
        make_result("one", "MR", 1, 0.6),
        make_result("two", "MR", 1, 0.8, candidates=[(0.7, 0.8)]),
    ]
    return EvaluationReport.of("box", COLUMNS, {"id": "m"}, {"window": "auto"}, results)


def test_means_are_over_the_structures_of_a_case_then_over_cases(a_report):
    assert a_report.mean("model", "dice") == Mean(pytest.approx(0.6), pytest.approx(0.2), 2, 4)
    # Of a single case, the spread is that of its structures.
    assert a_report.mean("model", "dice", modality="CT") == Mean(pytest.approx(0.3), pytest.approx(0.1), 1, 2)
    assert a_report.mean("model", "dice", modality="MR").mean == pytest.approx(0.7)
    assert a_report.mean("model", "dice", case="one").mean == pytest.approx(0.4)
    assert a_report.mean("simple", "clicks") is None


def test_rank_correlation_is_over_all_candidates(a_report):
    expected = stats.spearmanr([0.9, 0.5, 0.4, 0.7], [0.3, 0.4, 0.1, 0.8]).statistic

    assert rank_correlation(a_report.results) == pytest.approx(expected)
    assert f"predicted and true IoU (model): {expected:.2f}" in format_report(a_report)


def test_the_order_of_the_three_alternatives_is_judged_within_each_structure():
    right, wrong, undefined = ((0.9, 0.3), (0.5, 0.2), (0.4, 0.1)), ((0.9, 0.1), (0.5, 0.2), (0.4, 0.3)), ((0.9, 0.5),)
    led = ((0.1, 0.9), *right)  # a single answer before the alternatives does not count
    results = [
        make_result("one", "CT", 1, 0.5, candidates=led),
        make_result("one", "CT", 2, 0.5, candidates=right),
        make_result("two", "CT", 1, 0.5, candidates=wrong),
        make_result("two", "CT", 2, 0.5, candidates=undefined),
    ]

    assert rank_correlation_within(results) == pytest.approx((1 - 1) / 2)
    assert rank_correlation_within(results[:3]) == pytest.approx(0)
    assert rank_correlation_within(results[:2]) == pytest.approx(1)
    assert rank_correlation_within(results[3:]) is None


def test_the_gain_of_the_best_alternative_is_in_text_and_json():
    scores = [{"dice_1": 0.5, "best_1": 0.6}, {"dice_1": 0.7, "best_1": 0.7}]
    columns = (Column("dice_1", "1 click"), Column("best_1", "1, best of 3"))
    results = [
        replace(make_result(case, "CT", 1, 0.5), scores={"model": s}) for case, s in zip("ab", scores, strict=True)
    ]

    report = EvaluationReport.of("points", columns, {}, {}, results)

    assert report.to_json()["gain_of_best"] == pytest.approx(0.05)
    assert "one click, Dice: +0.050" in format_report(report)


def test_no_candidates_have_no_rank_correlation():
    report = EvaluationReport.of("box", COLUMNS, None, {}, [make_result("one", "CT", 1, 0.5)])

    assert rank_correlation(report.results) is None
    assert report.gain_of_best() is None
    assert "Spearman" not in format_report(report)


def test_a_swept_method_gets_the_parameter_that_is_best_for_each_metric():
    def sweep(small, large):
        return {
            "disc": {
                "0.1": {"dice": small[0], "clicks": small[1]},
                "0.5": {"dice": large[0], "clicks": large[1]},
            }
        }

    results = [
        make_result("one", "CT", 1, 0.5, sweep((0.9, 9), (0.5, 1))),
        make_result("one", "CT", 2, 0.5, sweep((0.9, 9), (0.5, 1))),
        make_result("two", "CT", 1, 0.5, sweep((0.1, 9), (0.6, 2))),
    ]

    report = EvaluationReport.of("points", COLUMNS, None, {}, results)

    # By structures 0.1 would have the better Dice (0.63 against 0.53), by cases it is 0.5 (0.50 against 0.55).
    assert report.best_parameters == {"disc": {"dice": "0.5", "clicks": "0.5"}}
    assert report.results[0].scores["disc"] == {"dice": 0.5, "clicks": 1}
    assert report.methods == ["model", "simple", "disc"]


def test_json_holds_every_number(a_report):
    content = json.loads(json.dumps(a_report.to_json()))

    assert content["overall"]["model"]["dice"]["mean"] == pytest.approx(0.6)
    assert content["by_modality"]["CT"]["model"]["dice"]["cases"] == 1
    assert content["by_case"]["two"]["simple"]["dice"]["mean"] == pytest.approx(0.4)
    assert len(content["results"]) == 4
    assert np.isfinite(content["rank_correlation"])


def test_the_table_shows_all_cases_modalities_and_each_case(a_report):
    text = format_report(a_report)

    lines = {line.split("  ")[0]: line for line in text.splitlines() if line}
    assert "4 structures of 2 cases" in text
    assert "CT (1 case)" in text and "MR (2 cases)" in text
    assert lines["one"].split()[:3] == ["one", "3", "0.400"]  # mean of its three structures, with their spread
    assert "±0.16" in lines["one"] and "0.800" in lines["two"] and "±" not in lines["two"]
    assert "0.600 ±0.20" in text and "4.0 ±2.0" in text
    simple = next(line for line in text.splitlines() if line.startswith("simple"))
    assert simple.endswith("-")  # has no number of clicks
