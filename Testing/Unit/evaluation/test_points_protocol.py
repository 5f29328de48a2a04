from dataclasses import replace

import numpy as np
import pytest

from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import RunContext, Settings
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, NOISY_MODEL
from SAMFinetuneLogic.evaluation.protocols.points import (
    PointsProtocol,
    click_series,
    model_dialogue,
    nothing_left_to_measure,
    number_of_clicks,
)
from SAMFinetuneLogic.evaluation.targets import case_targets
from SAMFinetuneLogic.evaluation.users import IdealUser
from SAMFinetuneLogic.metrics import dice, first_click, hd95, iou, next_click, surface_dice


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


def test_clicks_that_change_no_column_are_not_simulated(a_target, a_segmenter):
    a_segmenter.radius = 15.0  # the structure itself: found by the first click, not quite to the last pixel
    mask = a_target.mask.copy()
    mask[5, 5] = True
    target = replace(a_target, mask=mask)
    context = RunContext(Settings(baselines=False), a_segmenter)

    short = PointsProtocol().evaluate_target(target, context).scores[MODEL]
    asked = len(a_segmenter.log)
    whole, _ = model_dialogue(target.mask, IdealUser(), a_segmenter.open(target))

    assert asked < 10
    for n in range(1, 6):
        assert short[f"dice_{n}"] == whole.dices[n - 1]
    for threshold in (80, 85, 90):
        assert short[f"noc_{threshold}"] == number_of_clicks(whole.dices, threshold / 100)
    assert short["nsd_5"] == surface_dice(mask, whole.after(5), 1.0)


def test_the_dialogue_ends_early_only_where_nothing_can_change():
    assert not nothing_left_to_measure([0.95] * 4)
    assert not nothing_left_to_measure([0.89] * 9)
    assert nothing_left_to_measure([0.95, 0.5, 0.5, 0.5, 0.5])


def test_an_example_takes_the_place_of_the_first_click(a_disc):
    asked = []

    def answer(clicks):
        asked.append(tuple(clicks))
        return np.zeros_like(a_disc)

    series = click_series(a_disc, IdealUser(), answer, count=3, click_first=False)

    assert [len(clicks) for clicks in asked] == [0, 1, 2]
    assert asked[1] == (next_click(a_disc, np.zeros_like(a_disc)),) and len(series.dices) == 3


def test_the_earlier_mask_is_fed_back_and_the_candidates_are_judged(a_target, a_segmenter):
    context = RunContext(Settings(baselines=False), a_segmenter)

    result = PointsProtocol().evaluate_target(a_target, context)

    assert [len(clicks) for clicks, _, _ in a_segmenter.log] == list(range(1, 11))
    assert [fed_back for _, _, fed_back in a_segmenter.log] == [False] + [True] * 9
    first = a_segmenter.open(a_target).predict([first_click(a_target.mask)])
    scores = result.scores[MODEL]
    assert scores["dice_1"] == dice(a_target.mask, first.masks[0])
    assert scores["best_1"] == max(dice(a_target.mask, mask) for mask in first.masks)
    fifth = PointsProtocol().answer_target(a_target, a_segmenter, IdealUser()).mask
    assert scores["dice_5"] == dice(a_target.mask, fifth)
    assert scores["iou_5"] == iou(a_target.mask, fifth)
    assert scores["nsd_5"] == surface_dice(a_target.mask, fifth, 1.0)
    assert scores["hd95_5"] == hd95(a_target.mask, fifth, a_target.spacing)
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
