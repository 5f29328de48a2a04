"""What the simulated user of the training says first, and how it corrects."""

import pytest
import torch

from SAMFinetuneLogic.synthetic.batches import Batch
from SAMFinetuneLogic.synthetic.episodes import (
    BOX,
    BOX_AND_CLICK,
    CLICK,
    CLICKS,
    EARLIER_MASK,
    NOTHING,
    OTHER_SLICE,
    add_correction,
    first_prompts,
)

COUNT, SIZE = 2000, 32


@pytest.fixture(scope="module")
def a_batch():
    """Squares of 8 x 12 pixels; in the partner slice a little further down. Every fifth pair is not whole."""
    targets = torch.zeros(COUNT, SIZE, SIZE, dtype=torch.bool)
    targets[::2, 10:18, 6:18] = True
    targets[1::2, 14:22, 6:18] = True
    whole = torch.ones(COUNT, dtype=torch.bool)
    whole[::10] = whole[1::10] = False
    return Batch(torch.zeros(COUNT, 3, 1, 1), targets, whole, targets_per_image=1)


@pytest.fixture(scope="module")
def asked(a_batch):
    return first_prompts(a_batch, torch.Generator().manual_seed(0))


def test_the_kinds_come_in_their_shares(a_batch, asked):
    kinds = asked[1]

    shares = torch.bincount(kinds, minlength=7) / COUNT
    assert shares[BOX] == pytest.approx(0.40, abs=0.04) and shares[CLICKS] == pytest.approx(0.11, abs=0.03)
    partly = kinds[~a_batch.whole]  # what another slice cannot show is clicked at instead
    assert (partly == CLICK).float().mean() == pytest.approx(0.43, abs=0.06)
    assert (kinds[a_batch.whole] == CLICK).float().mean() == pytest.approx(0.34, abs=0.04)
    assert all(shares[kind] > 0 for kind in (BOX_AND_CLICK, EARLIER_MASK, OTHER_SLICE, NOTHING))
    assert (~asked[0].drawn).float().mean() == pytest.approx(0.06, abs=0.02), "by tokens alone"


def test_each_kind_says_what_it_stands_for(a_batch, asked):
    prompts, kinds = asked
    clicked = (kinds == CLICK) | (kinds == CLICKS) | (kinds == BOX_AND_CLICK)
    rows = torch.arange(COUNT)
    x, y = prompts.coords[:, 0].long().T
    assert torch.equal(prompts.labels[:, 0] == 1, clicked)
    assert a_batch.targets[rows, y, x][clicked].all(), "a first click lies inside"
    for place in (1, 2):
        x, y = prompts.coords[:, place].long().T
        said = prompts.labels[:, place] >= 0
        assert not said[kinds != CLICKS].any() and said.any()
        assert torch.equal(a_batch.targets[rows, y, x][said], prompts.labels[said, place] == 1)
    boxed = prompts.labels[:, 6] == 2
    assert boxed[(kinds == BOX) | (kinds == BOX_AND_CLICK)].all()
    assert not boxed[(kinds == CLICK) | (kinds == CLICKS) | (kinds == NOTHING) | (kinds == OTHER_SLICE)].any()
    first = prompts.coords[(kinds == BOX) & (rows % 2 == 0), 6:8]
    tight = torch.tensor([[6.0, 10.0], [17.0, 17.0]])
    exact = (first == tight).all(dim=(1, 2)).float().mean()
    assert 0.4 < exact < 0.75, "half of the boxes are tight, the others carelessly drawn"
    assert (first - tight).abs().max() < 0.5 * 12
    assert torch.equal(prompts.has_mask, kinds == EARLIER_MASK)
    assert torch.equal(prompts.from_other_slice, kinds == OTHER_SLICE)
    assert torch.equal(prompts.ambiguous, (kinds == CLICK) | (kinds == NOTHING))
    assert a_batch.whole[(kinds == EARLIER_MASK) | (kinds == OTHER_SLICE)].all()
    shown = prompts.mask_logits[:, 0] > 0
    assert torch.equal(shown, a_batch.of_partner(a_batch.targets)), "the earlier mask is that of the other slice"


def test_a_correction_hits_the_error_and_feeds_the_mask_back(a_batch, asked):
    prompts, _ = asked
    logits = torch.where(a_batch.of_partner(a_batch.targets), 3.0, -3.0)[:, None]

    corrected = add_correction(prompts, a_batch, logits, torch.Generator().manual_seed(1))

    before, after = prompts.labels[:, :6] >= 0, corrected.labels[:, :6] >= 0
    assert torch.equal(after.sum(1), before.sum(1) + 1), "one more click"
    rows, place = torch.arange(COUNT), before.sum(1)
    x, y = corrected.coords[rows, place].long().T
    assert (a_batch.targets[rows, y, x] != (logits[rows, 0, y, x] > 0)).all()
    assert torch.equal(corrected.labels[rows, place] == 1, a_batch.targets[rows, y, x])
    assert corrected.has_mask.float().mean() == pytest.approx(0.92, abs=0.02)
    assert torch.equal(corrected.mask_logits, logits) and not corrected.ambiguous.any()
    assert torch.equal(prompts.labels[:, :6] >= 0, before), "the earlier prompts stay as they are"
