import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.metrics import dice, iou

pairs = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


@given(pairs)
def test_overlap_equals_the_definition_on_sets_of_pixels(pair):
    a, b = (set(map(tuple, np.argwhere(mask).tolist())) for mask in pair)

    if a | b:
        assert dice(*pair) == pytest.approx(2 * len(a & b) / (len(a) + len(b)))
        assert iou(*pair) == pytest.approx(len(a & b) / len(a | b))


@given(pairs)
def test_dice_and_iou_tell_the_same(pair):
    assert dice(*pair) == pytest.approx(2 * iou(*pair) / (1 + iou(*pair)))


def test_two_empty_masks_agree_and_one_empty_mask_does_not():
    empty, full = np.zeros((3, 4), dtype=bool), np.ones((3, 4), dtype=bool)

    assert dice(empty, empty) == iou(empty, empty) == 1.0
    assert dice(empty, full) == iou(full, empty) == 0.0


def test_label_values_count_as_inside():
    assert dice(np.array([[0, 7, 7]]), np.array([[0, 1, 0]])) == pytest.approx(2 / 3)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(InputError, match="one grid"):
        dice(np.zeros((2, 3)), np.zeros((3, 2)))
