import numpy as np
import pytest

from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import RunContext, Settings
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, NOISY_MODEL
from SAMFinetuneLogic.evaluation.protocols.points import PointsProtocol, click_series, number_of_clicks
from SAMFinetuneLogic.evaluation.targets import case_targets
from SAMFinetuneLogic.evaluation.users import IdealUser
from SAMFinetuneLogic.metrics import dice, first_click, iou, next_click


@pytest.fixture
def a_target(a_manifest_file):
    return case_targets(read_manifest(a_manifest_file).cases[2])[0]


def test_each_click_answers_the_error_before(a_disc):
    halves = np.zeros_like(a_disc)
    halves[:25] = a_disc[:25]
    answers = [halves, ~a_disc, a_disc]
    asked = []

    def answer(clicks):
        asked.append(tuple(clicks))
        return answers[len(clicks) - 1]

    series = click_series(a_disc, IdealUser(), answer)

    expected = (first_click(a_disc), next_click(a_disc, halves), next_click(a_disc, ~a_disc))
    assert asked == [expected[:1], expected[:2], expected]
    assert series.clicks == expected
    assert series.dices == pytest.approx([dice(a_disc, mask) for mask in answers] + [1.0] * 7)
    assert np.array_equal(series.mask, a_disc)


def test_a_series_ends_after_the_allowed_clicks(a_disc):
    series = click_series(a_disc, IdealUser(), lambda clicks: np.zeros_like(a_disc), count=4)

    assert len(series.clicks) == 4
    assert series.dices == (0.0,) * 4


def test_number_of_clicks():
    dices = [0.5, 0.82, 0.7, 0.86, *[0.88] * 6]

    assert [number_of_clicks(dices, threshold) for threshold in (0.5, 0.8, 0.85, 0.9)] == [1, 2, 4, 10]


def test_the_earlier_mask_is_fed_back_and_the_candidates_are_judged(a_target, a_segmenter):
    context = RunContext(Settings(baselines=False), a_segmenter)

    result = PointsProtocol().evaluate_target(a_target, context)

    assert [len(clicks) for clicks, _, _ in a_segmenter.log] == list(range(1, 11))
    assert [fed_back for _, _, fed_back in a_segmenter.log] == [False] + [True] * 9
    first = a_segmenter.open(a_target).predict([first_click(a_target.mask)])
    scores = result.scores[MODEL]
    assert scores["dice_1"] == dice(a_target.mask, first.masks[0])
    assert scores["best_1"] == max(dice(a_target.mask, mask) for mask in first.masks)
    assert scores["dice_5"] > scores["dice_3"] > scores["dice_1"]
    assert [predicted for predicted, _ in result.candidates] == pytest.approx(first.predicted_iou)
    assert [true for _, true in result.candidates] == [iou(a_target.mask, mask) for mask in first.masks]
    assert list(result.scores) == [MODEL]


def test_the_noisy_user_is_averaged_and_repeatable(a_target, a_segmenter):
    once, thrice = (RunContext(Settings(None, seeds, baselines=False), a_segmenter) for seeds in (1, 3))
    protocol = PointsProtocol()

    scores = protocol.evaluate_target(a_target, thrice).scores[NOISY_MODEL]

    assert scores == protocol.evaluate_target(a_target, thrice).scores[NOISY_MODEL]
    assert scores != protocol.evaluate_target(a_target, once).scores[NOISY_MODEL]
    assert set(scores) == set(protocol.evaluate_target(a_target, thrice).scores[MODEL])
    firsts = {clicks[0] for clicks, _, _ in a_segmenter.log}
    assert len(firsts) > 2


def test_baselines_have_all_columns_that_need_no_candidates(a_target):
    result = PointsProtocol().evaluate_target(a_target, RunContext(Settings()))

    needed = {column.metric for column in PointsProtocol.columns} - {"best_1"}
    assert set(result.scores) == {"random walker", "watershed"}
    assert all(needed <= set(scores) for scores in result.scores.values())
    discs = result.sweeps["disc of the best radius"]
    assert all(needed <= set(scores) for scores in discs.values())
    # The structure is a disc of a quarter of the shorter side: the nearest radius fits it best.
    assert max(discs, key=lambda radius: discs[radius]["dice_1"]) == "0.246"
