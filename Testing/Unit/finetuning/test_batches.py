"""What each step learns from."""

from dataclasses import replace

import numpy as np
import torch
from labelled_data import labelled_set
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.finetuning.batches import BatchMaker
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.views import ViewMaker


def a_tiny_structure():
    """Slices with one structure, of 3 x 3 of 50 x 40 pixels."""
    data = labelled_set((2, 5, 8))
    labels = np.zeros_like(data.slices[0].labels)
    labels[20:23, 15:18] = 1
    return replace(data, slices=tuple(replace(entry, labels=labels) for entry in data.slices))


def largest_share(prompted):
    """Of a view that the structure takes."""
    data = a_tiny_structure()
    maker = ViewMaker(loaded(small_compact_sam()), (1,))
    batches = BatchMaker(data, range(3), maker, LoopSettings(batch=8), prompted, pooled=False)
    views = torch.cat([batches.batch(step).masks for step in range(6)]).float()
    return views.mean((1, 2, 3)).max().item()


def test_close_ups_are_for_prompts_alone():
    """Without prompts the product looks at whole slices: to learn from close-ups would mislead."""
    whole = 9 / (50 * 50)  # padded to a square
    assert largest_share(prompted=True) > 4 * whole
    assert largest_share(prompted=False) < 1.3**2 * 1.5 * whole


def test_few_empty_slices_are_learned_from():
    data = labelled_set(range(16))
    shown = sum(not entry.is_empty for entry in data.slices)
    empty = replace(data, slices=tuple(replace(e, labels=0 * e.labels) for e in data.slices))
    both = replace(data, slices=data.slices + empty.slices)
    maker = ViewMaker(loaded(small_compact_sam()), data.values)
    settings = LoopSettings(empty_share=0.25)
    items = BatchMaker(both, range(len(both.slices)), maker, settings, False, False).items
    assert sum(not both.slices[number].is_empty for number, _ in items) == shown
    assert sum(both.slices[number].is_empty for number, _ in items) == shown // 3


def test_a_batch_depends_on_seed_and_step_alone():
    data, maker = labelled_set(), ViewMaker(loaded(small_compact_sam()), (1, 2))
    for pooled in (False, True):
        first, second = (
            BatchMaker(data, range(5), maker, LoopSettings(batch=2, seed=seed), True, pooled) for seed in (1, 1)
        )
        first.batch(0)  # what was asked before does not matter
        assert torch.equal(first.batch(3).inputs, second.batch(3).inputs)
        other = BatchMaker(data, range(5), maker, LoopSettings(batch=2, seed=2), True, pooled)
        assert not torch.equal(first.batch(3).inputs, other.batch(3).inputs)
