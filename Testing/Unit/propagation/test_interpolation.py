import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import extent_of
from SAMFinetuneLogic.propagation.interpolation import InterpolationCandidate


def annotate(stack: np.ndarray, indices, slices=None) -> Annotations:
    voxels = np.zeros(stack.shape, dtype=np.uint8)
    voxels[list(indices)] = stack[list(indices)]
    volume = Volume(np.zeros(stack.shape, dtype=np.uint8), np.eye(4))
    return Annotations.of(volume, LabelMap(voxels, np.eye(4)), "k", slices)


def filled(annotations: Annotations, index: int, extents=None) -> np.ndarray:
    return InterpolationCandidate(extents).fit(annotations).predict(1, index).mask()


def ball(shape, centre, radius):
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_between_two_slices_it_is_the_textbook_formula(seed, index):
    rng = np.random.default_rng(seed)
    stack = np.zeros((10, 24, 26), dtype=bool)
    for k in (0, 9):
        row, col = rng.integers(6, 18, 2)
        stack[k] = ball((24, 26), (row, col), rng.integers(2, 6))
    level = [ndimage.distance_transform_edt(stack[k]) - ndimage.distance_transform_edt(~stack[k]) for k in (0, 9)]
    expected = (9 - index) / 9 * level[0] + index / 9 * level[1]

    found = filled(annotate(stack, (0, 9)), index)

    decided = np.abs(expected) > 0.03  # levels are stored in steps of a twentieth
    assert np.array_equal(found[decided], expected[decided] > 0)


def test_without_an_extent_the_outermost_outline_is_held():
    stack = ball((12, 30, 30), (6, 15, 15), 6)
    annotations = annotate(stack, (4, 6))

    assert np.array_equal(filled(annotations, 0), stack[4])
    assert np.array_equal(filled(annotations, 11), stack[6])


def test_with_known_ends_a_ball_closes():
    stack = ball((30, 40, 40), (15, 20, 20), 12)
    annotations = annotate(stack, (15,))
    extents = {1: extent_of(annotations, 1, 3, 27)}

    closed = np.array([filled(annotations, k, extents) for k in range(3, 28)])
    held = np.array([filled(annotations, k) for k in range(3, 28)])

    assert dice(closed, stack[3:28]) > dice(held, stack[3:28]) + 0.05
    assert not filled(annotations, 2, extents).any()


def test_a_structure_cut_off_by_the_volume_is_held():
    stack = np.zeros((10, 20, 20), dtype=bool)
    stack[:, 5:15, 5:15] = True
    annotations = annotate(stack, (5,))

    for index in (0, 9):
        assert np.array_equal(filled(annotations, index, {1: extent_of(annotations, 1, 0, 9)}), stack[5])


def test_an_empty_annotated_slice_is_a_negative():
    stack = ball((20, 30, 30), (6, 15, 15), 6)
    annotations = annotate(stack, (6,), slices=(6, 12))

    areas = [filled(annotations, k).sum() for k in range(7, 12)]

    assert areas == sorted(areas, reverse=True)
    assert areas[-1] < stack[6].sum() / 2
    assert not filled(annotations, 15).any()


def test_a_gap_between_negatives_stays_empty():
    stack = ball((20, 20, 20), (3, 10, 10), 4) | ball((20, 20, 20), (16, 10, 10), 4)
    annotations = annotate(stack, (3, 16), slices=(3, 8, 11, 16))

    assert not filled(annotations, 9).any()
    assert filled(annotations, 4).any()
    assert filled(annotations, 15).any()


def test_a_split_structure_merges():
    stack = np.zeros((9, 30, 40), dtype=bool)
    stack[0, 8:22, 4:16] = stack[0, 8:22, 24:36] = True
    stack[8, 8:22, 4:36] = True
    annotations = annotate(stack, (0, 8))

    parts = [ndimage.label(filled(annotations, k))[1] for k in (1, 7)]

    assert parts == [2, 1]


@pytest.mark.parametrize("drawn", [(10,), (9, 10, 11)])
def test_adjacent_slices_reach_beyond_a_round_structure_but_not_twice_as_far(drawn):
    stack = ball((21, 30, 30), (10, 15, 15), 5)
    annotations = annotate(stack, drawn)

    extent = extent_of(annotations, 1)

    assert 0 < extent.first <= 5
    assert 15 <= extent.last < 20
