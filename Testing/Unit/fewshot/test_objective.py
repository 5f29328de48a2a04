import numpy as np
import pytest
import torch

from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
from SAMFinetuneLogic.fewshot.objective import class_probabilities, fewshot_loss, grid_dice
from SAMFinetuneLogic.metrics import dice


def a_truth(seed=0):
    owner = np.random.default_rng(seed).integers(0, 3, (8, 8))
    return torch.from_numpy(np.stack([owner == n for n in range(3)]).astype(np.float32))


def test_one_class_is_the_same_by_softmax_and_by_sigmoid():
    logits = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0))
    soft, single = (class_probabilities(logits, kind, 0) for kind in ("softmax", "sigmoid"))
    torch.testing.assert_close(soft, single)
    torch.testing.assert_close(soft[1], torch.sigmoid(logits[0]))


@pytest.mark.parametrize("background", ["softmax", "sigmoid"])
def test_the_loss_is_smallest_at_the_truth_and_ignores_the_padding(background):
    truth = a_truth()[None]
    right = 20 * (2 * truth[:, 1:] - 1)
    assert float(fewshot_loss(right, truth, background)) < 0.01
    assert float(fewshot_loss(-right, truth, background)) > 1
    padded = torch.cat([truth, torch.zeros(1, 3, 8, 4)], 3)
    wrong_there = torch.cat([right, torch.full((1, 2, 8, 4), 20.0)], 3)
    torch.testing.assert_close(
        fewshot_loss(wrong_there, padded, background), fewshot_loss(right, truth, background), atol=1e-5, rtol=0
    )


def test_grid_dice_agrees_with_the_metric():
    truth, guess = a_truth(0), a_truth(1)
    logits = 5 * (guess[1:] - guess[:1])
    expected = np.mean([dice(guess[n].numpy(), truth[n].numpy()) for n in (1, 2)])
    assert grid_dice(logits, truth) == pytest.approx(expected)


def test_confidence_is_the_expected_dice():
    rng = np.random.default_rng(0)
    p = rng.random((40, 40)).astype(np.float32)
    prediction = SlicePrediction(np.stack([1 - p, p]), (3,))
    mask = prediction.labels == 3
    sampled = [dice(mask, rng.random(p.shape) < p) for _ in range(200)]
    assert prediction.confidence(3) == pytest.approx(np.mean(sampled), abs=0.01)
    wrong = [(mask != (rng.random(p.shape) < p)).sum() for _ in range(200)]
    assert prediction.doubtful_pixels(3) == pytest.approx(np.mean(wrong), rel=0.01)
    nothing = SlicePrediction(np.stack([np.full((4, 4), 0.9), np.full((4, 4), 0.1)]), (3,))
    assert nothing.confidence(3) == pytest.approx(0.9)
