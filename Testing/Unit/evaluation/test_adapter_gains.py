import pytest

from SAMFinetuneLogic.evaluation.adapter_gains import adapter_gains
from SAMFinetuneLogic.evaluation.protocols.base import Column
from SAMFinetuneLogic.evaluation.protocols.finetune import ADAPTED, IN_USE
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.results import Result
from SAMFinetuneLogic.evaluation.tables import format_report


def a_result(case, image, label, gain, accepted, count=5):
    used = {f"gain_{count}": gain if accepted else 0.0, f"accepted_{count}": float(accepted)}
    scores = {"model": {f"click_{count}": 0.5}, ADAPTED: {f"gain_{count}": gain}, IN_USE: used}
    return Result(case, "CT", image, "labels", label, "name", "k", 3, 99, scores)


RESULTS = [
    a_result("one", "a", 1, 0.3, True),
    a_result("one", "a", 2, -0.1, True),
    a_result("two", "a", 1, -0.4, False),
    a_result("three", "a", 1, 0.02, True),
    a_result("three", "b", 1, 0.5, False),
]


def test_gains_are_of_adapters_and_their_mean_is_over_cases():
    (found,) = adapter_gains(RESULTS)

    assert (found.count, found.adapters, found.accepted) == (5, 4, 2)
    # Cases one: (0.3 - 0.1) / 2; two: refused; three: one accepted and one refused volume.
    assert found.gain == pytest.approx((0.1 + 0 + 0.01) / 3)
    assert found.raw_gain == pytest.approx((0.1 - 0.4 + 0.26) / 3)
    assert found.accepted_gain == pytest.approx((0.1 + 0.02) / 2)
    assert (found.worst, found.worst_case) == (pytest.approx(0.02), "three")


def test_the_report_says_so_for_each_number_of_slices():
    more = [*RESULTS, a_result("one", "a", 1, 0.2, False, count=3)]
    report = EvaluationReport.of("finetune", (Column("click_5", "click 5"),), None, {}, more)

    lines = format_report(report).splitlines()[-2:]

    assert lines[0] == (
        "3 slices: 0 of 1 adapters accepted; one click +0.000 Dice over all cases, a refused one counting as 0 "
        "(+0.200 without the gate)."
    )
    assert lines[1].startswith("5 slices: 2 of 4 adapters accepted; one click +0.037 Dice over all cases")
    assert lines[1].endswith("+0.060 where accepted, at worst +0.020 (three).")
    assert [entry["accepted"] for entry in report.to_json()["adapter_gains"]] == [0, 2]


def test_other_protocols_have_none():
    result = Result("one", "CT", "a", "labels", 1, "name", "k", 3, 99, {"model": {"dice": 0.5}})
    assert adapter_gains([result]) == ()
