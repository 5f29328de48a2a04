import numpy as np
import torch
from labelled_data import labelled_set
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.finetuning.augmenting import FAITHFUL, RECOMMENDED, Augmentation, augmented
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.models.preprocessing import SliceTransform

STILL = Augmentation(0, (1, 1), 0, 0, 0, 1, 0, 0, 0)


def make_maker(network):
    return ViewMaker(loaded(network), (1, 2))


def test_a_plain_view_agrees_with_the_products_own_way_into_the_network():
    maker = make_maker(small_stock_sam())
    entry = labelled_set((6,)).slices[0]
    transform = SliceTransform(entry.labels.shape, entry.spacing, maker.preprocessing)

    view = maker.plain(entry)

    assert torch.equal(view.input, transform.prepare(entry.pixels))
    for kind, value in enumerate((1, 2)):
        expected = transform.mask_to_prompt(entry.labels == value, maker.mask_size)[0] > 0
        assert torch.equal(view.masks[kind], expected)
    assert view.content.float().mean() == 13 / 16  # of 12.8 columns with content, the last shows mostly content


def test_an_augmentation_that_changes_nothing_gives_the_slice_itself():
    entry = labelled_set((6,)).slices[0]
    copy = augmented(entry, STILL, np.random.default_rng(0))
    assert np.array_equal(copy.pixels, entry.pixels) and np.array_equal(copy.labels, entry.labels)


def test_pixels_and_labels_move_together():
    entry = labelled_set((6,)).slices[0]
    for seed, augmentation in enumerate((RECOMMENDED, FAITHFUL) * 4):
        copy = augmented(entry, augmentation, np.random.default_rng(seed))
        inside = copy.labels == 1
        if inside.sum() > 20:
            assert np.median(copy.pixels[inside]) > np.median(copy.pixels[copy.labels == 0])


def test_the_same_random_numbers_give_the_same_view():
    maker, entry = make_maker(small_compact_sam()), labelled_set((6,)).slices[0]
    first, second = (maker.augmented(entry, RECOMMENDED, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first.input, second.input) and torch.equal(first.masks, second.masks)


def test_a_structure_too_small_on_the_slice_is_shown_in_a_crop():
    maker = make_maker(small_stock_sam())  # its masks have 16 x 16 pixels
    entry = labelled_set((6,)).slices[0]
    tiny = np.zeros_like(entry.labels)
    tiny[30:32, 20:22] = 2
    small = type(entry)(entry.pixels, tiny, entry.spacing, 0, entry.slice)

    assert not maker.plain(small).masks[1].any()
    shown = maker.showing(small, 1)
    assert shown is not None and shown.masks[1].any()
    assert maker.showing(small, 0) is None


def test_large_slices_are_made_smaller_once():
    maker = make_maker(small_compact_sam())  # 64 pixels
    pixels = np.kron(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20, np.ones((100, 100), np.uint8))
    entry = labelled_set((6,)).slices[0]
    large = type(entry)(pixels, (pixels > 100).astype(np.uint16), (0.5, 0.5), 0, entry.slice)

    small = maker.reduced(large)

    assert max(small.labels.shape) <= 3 * 64 and small.spacing[0] > 0.5
    assert np.isclose(small.labels.shape[0] * small.spacing[0], 150, atol=2)
    assert np.mean(small.labels == (small.pixels > 100)) > 0.97
