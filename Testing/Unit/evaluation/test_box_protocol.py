import numpy as np
import pytest

from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.protocols import RunContext, Settings
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, NOISY_MODEL, noisy_mean
from SAMFinetuneLogic.evaluation.protocols.box import BASELINES, BoxProtocol
from SAMFinetuneLogic.evaluation.protocols.scoring import score_mask
from SAMFinetuneLogic.evaluation.targets import case_targets
from SAMFinetuneLogic.evaluation.users import NoisyUser
from SAMFinetuneLogic.metrics import dice, hd95, iou, surface_dice, tight_box


@pytest.fixture
def a_target(a_manifest_file):
    return case_targets(read_manifest(a_manifest_file).cases[0])[0]


def test_the_model_gets_the_tight_box_and_is_scored(a_target, a_segmenter):
    result = BoxProtocol().evaluate_target(a_target, RunContext(Settings(baselines=False), a_segmenter))

    box = tight_box(a_target.mask)
    assert a_segmenter.log == [((), box, False)]
    filled = np.zeros_like(a_target.mask)
    filled[box[0] : box[2] + 1, box[1] : box[3] + 1] = True
    assert list(result.scores) == [MODEL]
    assert result.scores[MODEL] == pytest.approx(
        {
            "dice": dice(a_target.mask, filled),
            "iou": iou(a_target.mask, filled),
            "nsd": surface_dice(a_target.mask, filled, 1.0),
            "nsd_mm": surface_dice(a_target.mask, filled, 2.0, (0.8, 0.8)),
            "hd95": hd95(a_target.mask, filled, (0.8, 0.8)),
        }
    )


def test_noisy_boxes_and_baselines(a_target, a_segmenter):
    result = BoxProtocol().evaluate_target(a_target, RunContext(Settings(noisy_seeds=3), a_segmenter))

    assert list(result.scores) == [MODEL, NOISY_MODEL, *BASELINES]
    assert len({box for _, box, _ in a_segmenter.log}) > 1
    assert result.scores["ellipse in the box"]["dice"] > 0.95  # the structure is a ball
    assert not result.sweeps


def test_the_noisy_user_is_the_mean_of_its_repeats(a_target):
    seen = []

    def first_row(user):
        seen.append(user.box(a_target.mask))
        return {"row": float(seen[-1][0]), "col": float(user.first_click(a_target.mask).col)}

    found = noisy_mean(a_target, 4, first_row)

    repeats = [NoisyUser(seed, a_target.key) for seed in range(4)]
    boxes = [user.box(a_target.mask) for user in repeats]
    assert seen == boxes and len(set(boxes)) == 4, "each repeat is another, and each target has its own"
    assert found["row"] == np.mean([box[0] for box in boxes])
    assert found["col"] == np.mean([user.first_click(a_target.mask).col for user in repeats])
    assert NoisyUser(0, "another").box(a_target.mask) != boxes[0]


def test_an_empty_answer_is_as_far_away_as_the_slice_is_large(a_target):
    scores = score_mask(a_target, np.zeros_like(a_target.mask))

    assert scores["dice"] == scores["nsd"] == 0
    assert scores["hd95"] == pytest.approx(np.hypot(40 * 0.8, 50 * 0.8))
