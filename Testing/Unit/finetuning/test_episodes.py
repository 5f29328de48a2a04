"""The simulated user, and the network's answers: the same as the product's own prediction gives."""

import numpy as np
import pytest
import torch
from labelled_data import labelled_set
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.finetuning.episodes import (
    BOX,
    BOX_AND_CLICK,
    CLICK,
    CLICKS,
    EARLIER_MASK,
    Prompts,
    answer,
    corrected,
    first_prompts,
)
from SAMFinetuneLogic.models.preprocessing import Preprocessing
from SAMFinetuneLogic.prompting.predictor import SlicePredictor

TARGETS = torch.zeros(5, 64, 64, dtype=torch.bool)
for n in range(5):
    TARGETS[n, 10 + 4 * n : 30 + 4 * n, 20 : 36 + 2 * n] = True


@pytest.fixture(params=["stock", "compact"])
def a_model(request):
    if request.param == "stock":
        return loaded(small_stock_sam())
    preprocessing = Preprocessing("sam", "longest_pad", 64, coordinates="centre")
    return loaded(small_compact_sam(), preprocessing=preprocessing, single_mask_first=True)


def test_prompts_fit_their_kind():
    kinds = torch.tensor([CLICK, CLICKS, BOX, BOX_AND_CLICK, EARLIER_MASK])
    prompts, found = first_prompts(TARGETS, torch.Generator().manual_seed(0), kinds)

    assert torch.equal(found, kinds)
    assert (prompts.labels[:, 0] == 1).tolist() == [True, True, False, True, False]
    assert (prompts.labels[:, 8] == 2).tolist() == [False, False, True, True, True]
    assert prompts.has_mask.tolist() == [False] * 4 + [True]
    for n in (0, 1, 3):
        x, y = prompts.coords[n, 0].long()
        assert TARGETS[n, y, x]
    x0, y0, x1, y1 = prompts.coords[2, 8:].flatten()
    assert abs(y0 - 18) <= 4 and abs(y1 - 37) <= 4 and abs(x0 - 20) <= 4 and abs(x1 - 39) <= 4


def test_the_earlier_mask_resembles_the_structure():
    kinds = torch.full((5,), EARLIER_MASK)
    for seed in range(5):
        prompts, _ = first_prompts(TARGETS, torch.Generator().manual_seed(seed), kinds)
        earlier = prompts.mask_logits[:, 0] > 0
        overlap = (earlier & TARGETS).sum((1, 2)) * 2 / (earlier.sum((1, 2)) + TARGETS.sum((1, 2)))
        assert (overlap > 0.4).all() and not torch.equal(earlier, TARGETS)


def test_corrections_lie_on_the_errors():
    generator = torch.Generator().manual_seed(0)
    prompts, _ = first_prompts(TARGETS, generator, torch.full((5,), CLICK))
    wrong = torch.full((5, 1, 64, 64), -5.0)
    wrong[:, :, :8, :8] = 5.0
    after = corrected(prompts, TARGETS, wrong, generator)
    assert (after.labels[:, 1] == 1).all() and after.has_mask.all()
    for n in range(5):
        x, y = after.coords[n, 1].long()
        assert TARGETS[n, y, x]


def test_answers_are_those_of_the_predictor(a_model):
    entry = labelled_set((6,)).slices[0]
    predictor = SlicePredictor(a_model)
    embedded = predictor.embed(entry.image)
    size = a_model.mask_size[0]
    scale = a_model.preprocessing.size / size
    half = 0.0 if a_model.preprocessing.coordinates == "sam" else 0.5
    coords, labels = torch.zeros(3, 10, 2), torch.full((3, 10), -1.0)
    coords[0, 0], labels[0, 0] = torch.tensor([7.0, 5.0]), 1
    coords[1, 8], coords[1, 9] = torch.tensor([3.0, 2.0]), torch.tensor([9.0, 11.0])
    labels[1, 8], labels[1, 9] = 2, 3
    coords[2, 0], labels[2, 0] = torch.tensor([4.0, 4.0]), 0
    earlier = torch.randn(3, 1, size, size, generator=torch.Generator().manual_seed(0))
    prompts = Prompts(coords, labels, earlier, torch.tensor([False, False, True]))

    with torch.no_grad():
        logits, iou = answer(a_model.network, embedded.embedding.expand(3, -1, -1, -1), prompts, half > 0)

    def on_slice(x: float, y: float) -> np.ndarray:
        """(row, col) of a position on the grid."""
        place = (np.array([y, x]) + half) * scale - half
        return (place + half) / np.array(embedded.transform.scale) - half

    first = predictor._decode(embedded, on_slice(7, 5)[None], np.array([1]), None, None, False)
    box = np.concatenate([on_slice(3, 2), on_slice(9, 11)])
    second = predictor._decode(embedded, np.zeros((0, 2)), np.zeros(0), box, None, False)
    third = predictor._decode(embedded, on_slice(4, 4)[None], np.array([0]), None, earlier[2].numpy(), False)
    for n, (expected, expected_iou) in enumerate((first, second, third)):
        assert torch.allclose(logits[n, :1], expected, atol=1e-4), n
        assert torch.allclose(iou[n, :1], expected_iou, atol=1e-4), n
