"""Validation scores, written out from the network's own answers."""

import numpy as np
import pytest
import torch
from labelled_data import labelled_set
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.finetuning.validation import validation_dice
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.models.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def model():
    preprocessing = Preprocessing("sam", "longest_pad", 64, coordinates="centre")
    return loaded(small_compact_sam(), backbone="compact", preprocessing=preprocessing, single_mask_first=True)


@torch.no_grad()
def test_the_background_does_not_count_and_each_class_counts_the_same(model):
    """With random class outputs, which draw something of each class on most slices."""
    data = labelled_set((2, 5, 6, 15), turned=True)  # the small class on two of them, nothing on the last one
    torch.manual_seed(0)
    adapted = adapt(model, Strategy.of("vanilla", background="learned"), "automatic", ("liver", "spleen"))
    for name, parameter in adapted.trainable_state().items():
        if "hypernetworks" in name or "tokens" in name:
            parameter.add_(0.5 * torch.randn_like(parameter))
    adapted.eval_mode()
    maker = ViewMaker(model, data.values)
    scores = []
    for entry in data.slices:
        view = maker.plain(entry)
        embedding = adapted.network.image_encoder(view.input[None])
        found = adapted.class_logits(embedding)[0].argmax(0).numpy()
        scores.append([dice(view.masks[kind].numpy(), found == kind + 1) for kind in range(2)])
    expected = np.mean(scores)
    assert 0 < expected < 1 and np.min(scores) == 0, "what is drawn on a slice without the class counts as 0"
    assert validation_dice(adapted, model, data, maker) == pytest.approx(expected, abs=1e-6)


def test_a_click_is_scored_where_the_structure_is(model):
    data = labelled_set((2, 5, 15))
    adapted = adapt(model, Strategy.of("lora", "decoder"), "prompts", ("liver", "spleen"))
    maker = ViewMaker(model, data.values)
    alone = [validation_dice(adapted, model, data.subset([number]), maker) for number in range(3)]
    assert alone[2] == 0.0, "an empty slice has nothing to click on"
    first = labelled_set((2,)).subset([0])
    assert alone[0] == validation_dice(adapted, model, first, maker)
    assert validation_dice(adapted, model, data.subset([0, 2]), maker) == alone[0]
