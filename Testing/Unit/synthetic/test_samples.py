"""Pairs of slices and the targets drawn from them."""

import numpy as np
import pytest
import torch

from SAMFinetuneLogic.synthetic.batches import make_batch
from SAMFinetuneLogic.synthetic.samples import draw_examples, random_pair

SIZE = 64


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(5)
    return [random_pair(rng, SIZE) for _ in range(12)]


def test_a_seed_gives_one_pair():
    one, other = (random_pair(np.random.default_rng(11), SIZE) for _ in range(2))
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.labels, other.labels)


def test_images_use_their_range(pairs):
    for pair in pairs:
        assert pair.images.dtype == np.uint8 and pair.images.shape == (2, SIZE, SIZE)
    assert np.median([np.ptp(pair.images) for pair in pairs]) > 150


def test_both_slices_show_the_same_examination(pairs):
    """A structure looks alike in both slices, unlike the others: the ground for prompting by another slice."""
    within, between = [], []
    for pair in pairs:
        means = []
        for image, labels in zip(pair.images, pair.labels, strict=True):
            counts = np.bincount(labels.ravel(), minlength=len(pair.structures))
            sums = np.bincount(labels.ravel(), image.ravel(), minlength=len(pair.structures))
            means.append(np.where(counts >= 60, sums / np.maximum(counts, 1), np.nan))
        seen = ~np.isnan(means[0]) & ~np.isnan(means[1])
        within += list(np.abs(means[0] - means[1])[seen])
        between += list(np.abs(means[0][seen][:, None] - means[0][seen][None])[np.triu_indices(seen.sum(), 1)])
    assert np.median(within) < 0.4 * np.median(between)


def test_targets_are_neither_specks_nor_everything(pairs):
    rng = np.random.default_rng(1)
    for pair in pairs:
        for example in draw_examples(rng, pair, 3):
            assert example.targets.shape == (3, SIZE, SIZE)
            assert not (example.targets & ~example.valid).any()
            if len(pair.structures) > 1:
                assert example.targets.mean((1, 2)).max() <= 0.9


def test_partners_in_a_batch_are_the_same_structure_of_the_other_slice(pairs):
    ones = torch.ones(1, 3, 1, 1)
    batch = make_batch(np.random.default_rng(2), pairs[:4], 2, 100 * ones, 50 * ones)
    assert batch.images.shape == (8, 3, SIZE, SIZE) and batch.targets.shape == (16, SIZE, SIZE)
    places = torch.arange(16)
    expected = [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13]
    assert batch.of_partner(places).tolist() == expected
    assert torch.equal(batch.of_partner(batch.of_partner(batch.targets)), batch.targets)


def test_padding_is_zero_after_normalisation(pairs):
    ones = torch.ones(1, 3, 1, 1)
    rng = np.random.default_rng(4)
    batches = [make_batch(rng, pairs, 1, 1000 * ones, ones) for _ in range(2)]
    images = torch.cat([batch.images for batch in batches])
    assert (images.amax((1, 2, 3)) == 0).any(), "a quarter of the slices should be padded"
    assert ((images == 0) | (images <= 255 - 1000)).all()
