import numpy as np
import pytest
from scipy import ndimage

from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation.fusion import Opinion, compose, fuse
from SAMFinetuneLogic.propagation.levels import LIMIT, Patch, nothing, patch_dice, signed_distance


def disc(shape, centre, radius):
    rows, cols = np.indices(shape)
    return (rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 <= radius**2


def test_a_patch_holds_what_was_put_in():
    levels = np.random.default_rng(0).normal(0, 4, (30, 40)).astype(np.float32)
    patch = Patch.of(levels, (50, 60), 5, 7)

    everywhere = patch.levels((0, 0, 49, 59))

    expected = np.full((50, 60), -LIMIT)
    expected[5:35, 7:47] = np.clip(levels, -LIMIT, LIMIT)
    assert np.abs(everywhere - expected).max() <= 0.5 / 20 + 1e-6
    assert np.array_equal(patch.mask(), everywhere > 0)
    assert patch.area == np.count_nonzero(everywhere > 0)
    assert np.array_equal(patch.levels((10, 50, 20, 59)), everywhere[10:21, 50:60])


def test_dice_of_patches_is_that_of_their_masks():
    first, second = disc((40, 40), (18, 18), 9), disc((40, 40), (22, 20), 8)
    patches = [Patch.of(np.where(mask, 3.0, -LIMIT), mask.shape) for mask in (first, second)]

    assert patch_dice(*patches) == pytest.approx(dice(first, second))
    assert patch_dice(nothing((40, 40)), nothing((40, 40))) == 1.0
    assert patch_dice(patches[0], nothing((40, 40))) == 0.0


def test_signed_distance_counts_in_finer_pixels_and_not_from_the_border():
    mask = np.zeros((20, 30), dtype=bool)
    mask[:, 10:20] = True

    level = signed_distance(mask, (2.0, 1.0))

    assert np.array_equal(level[0], level[10])  # the border is no outline
    brute = np.where(mask[0], ndimage.distance_transform_edt(mask[0]), -ndimage.distance_transform_edt(~mask[0]))
    assert np.allclose(level[10], brute)
    assert (signed_distance(np.ones((4, 5), dtype=bool)) > 0).all()


def test_the_mean_of_two_outlines_lies_between_them():
    small, large = disc((60, 60), (30, 30), 12), disc((60, 60), (30, 30), 16)
    opinions = [Opinion("", Patch.of(signed_distance(mask), mask.shape), 0.1) for mask in (small, large)]

    fused = fuse(opinions, (60, 60)).mask()

    assert dice(fused, disc((60, 60), (30, 30), 14)) > 0.97


def test_who_errs_less_weighs_more():
    shape = (10, 10)
    yes, no = Patch.of(np.full(shape, 2.0), shape), Patch.of(np.full(shape, -2.0), shape)

    assert fuse([Opinion("", yes, 0.1), Opinion("", no, 0.2)], shape).mask().all()
    assert not fuse([Opinion("", yes, 0.2), Opinion("", no, 0.1)], shape).mask().any()
    assert fuse([], shape).bounds is None


def test_segments_do_not_overlap():
    shape = (8, 8)
    one, two = np.full(shape, -LIMIT), np.full(shape, -LIMIT)
    one[2:6, :5], two[2:6, 3:] = 2.0, 3.0

    (row0, col0, row1, col1), labels = compose({4: Patch.of(one, shape), 9: Patch.of(two, shape)})

    assert (row0, col0, row1, col1) == (2, 0, 5, 7)
    assert np.array_equal(labels[0], [4, 4, 4, 9, 9, 9, 9, 9])
    assert compose({1: nothing(shape)}) is None
