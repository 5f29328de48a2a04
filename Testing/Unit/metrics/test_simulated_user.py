import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.metrics import (
    Click,
    first_click,
    next_click,
    noisy_box,
    noisy_first_click,
    noisy_next_click,
    tight_box,
)

shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
masks = shapes.flatmap(lambda shape: arrays(bool, shape)).filter(np.any)
mask_pairs = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def brute_force_centre(region):
    """The first pixel in row-major order that is farthest from everything outside, beyond the image included."""
    outside = np.argwhere(~np.pad(region, 1)) - 1
    inside = np.argwhere(region)
    squared = ((inside[:, None] - outside[None]) ** 2).sum(axis=-1).min(axis=1)
    return tuple(inside[squared.argmax()].tolist())


def flood_components(region):
    """Components through pixel sides, by flooding from each pixel in row-major order."""
    free = set(map(tuple, np.argwhere(region).tolist()))
    components = []
    for start in sorted(free):
        if start not in free:
            continue
        component, front = set(), [start]
        free.discard(start)
        while front:
            row, col = front.pop()
            component.add((row, col))
            for near in ((row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)):
                if near in free:
                    free.discard(near)
                    front.append(near)
        components.append(component)
    return components


@given(masks)
def test_the_first_click_is_farthest_from_the_outside(mask):
    click = first_click(mask)

    assert (click.row, click.col) == brute_force_centre(mask)
    assert click.positive


def test_the_first_click_of_a_structure_at_the_border_stays_away_from_it():
    mask = np.zeros((20, 20), dtype=bool)
    mask[0:9, 0:9] = True

    assert first_click(mask) == Click(4, 4)


def test_the_first_click_of_a_ring_is_on_the_ring():
    rows, cols = np.mgrid[:40, :40] - 20
    radius = np.hypot(rows, cols)
    mask = (radius < 15) & (radius > 9)

    click = first_click(mask)

    assert mask[click.row, click.col]


@given(mask_pairs)
def test_the_next_click_is_the_centre_of_the_largest_error(pair):
    mask, prediction = pair
    errors = [(component, True) for component in flood_components(mask & ~prediction)]
    errors += [(component, False) for component in flood_components(prediction & ~mask)]

    click = next_click(mask, prediction)

    if not errors:
        assert click is None
        return
    component, positive = max(errors, key=lambda error: len(error[0]))  # the first of equal ones
    region = np.zeros_like(mask)
    region[tuple(np.array(sorted(component)).T)] = True
    assert click == Click(*brute_force_centre(region), positive)


def test_a_prediction_of_another_shape_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        next_click(np.ones((3, 3), dtype=bool), np.ones((3, 4), dtype=bool))


def test_an_empty_structure_is_refused():
    with pytest.raises(InputError, match="empty"):
        first_click(np.zeros((3, 3), dtype=bool))


@given(masks)
def test_the_tight_box_holds_the_structure_and_all_its_sides_touch_it(mask):
    row0, col0, row1, col1 = tight_box(mask)
    inside = mask[row0 : row1 + 1, col0 : col1 + 1]

    assert inside.sum() == mask.sum()
    assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@settings(deadline=None)
@given(mask_pairs, st.integers(0, 2**32), st.floats(0.01, 1.0))
def test_noisy_clicks_stay_where_they_belong(pair, seed, noise):
    mask, prediction = pair
    rng = np.random.default_rng(seed)
    if not mask.any():
        return
    first, following = noisy_first_click(mask, rng, noise), noisy_next_click(mask, prediction, rng, noise)

    assert mask[first.row, first.col] and first.positive
    if following is None:
        assert np.array_equal(mask, prediction)
    else:
        assert mask[following.row, following.col] == following.positive
        assert prediction[following.row, following.col] != following.positive


@settings(deadline=None)
@given(masks, st.integers(0, 2**32), st.floats(0.01, 2.0))
def test_noisy_boxes_stay_in_the_image_and_keep_an_extent(mask, seed, noise):
    row0, col0, row1, col1 = noisy_box(mask, np.random.default_rng(seed), noise)

    assert 0 <= row0 <= row1 < mask.shape[0] and 0 <= col0 <= col1 < mask.shape[1]
    assert row0 < row1 or mask.shape[0] == 1
    assert col0 < col1 or mask.shape[1] == 1


def test_the_noise_has_the_stated_size_along_each_axis():
    mask = np.zeros((100, 250), dtype=bool)
    mask[20:80, 25:225] = True  # 60 x 200 pixels: errors of 3 and 10
    rng = np.random.default_rng(0)
    ideal = first_click(mask)

    clicks = [noisy_first_click(mask, rng) for _ in range(500)]
    boxes = np.array([noisy_box(mask, rng) for _ in range(500)])

    assert np.std([click.row - ideal.row for click in clicks]) == pytest.approx(3, rel=0.12)
    assert np.std([click.col - ideal.col for click in clicks]) == pytest.approx(10, rel=0.12)
    assert boxes.mean(axis=0) == pytest.approx([20, 25, 79, 224], abs=1.5)
    # The wide sides are cut off a little where the image ends, 2.5 standard deviations away.
    assert boxes.std(axis=0) == pytest.approx([3, 10, 3, 10], rel=0.12)


@pytest.mark.parametrize("missed", [True, False])
def test_corrections_miss_by_the_size_of_the_structure_not_of_the_error(missed):
    mask = np.zeros((240, 300), dtype=bool)
    mask[20:220, 40:280] = True  # 200 x 240 pixels: errors of 10 and 12
    hole = mask.copy()
    hole[60:180, 80:240] = False  # 120 x 160 pixels: its own errors would be 6 and 8
    truth, prediction = (mask, hole) if missed else (hole, mask)
    ideal, rng = next_click(truth, prediction), np.random.default_rng(0)

    clicks = [noisy_next_click(truth, prediction, rng) for _ in range(800)]

    assert {click.positive for click in clicks} == {missed}
    rows, cols = ([getattr(click, name) - getattr(ideal, name) for click in clicks] for name in ("row", "col"))
    assert np.std(rows) == pytest.approx(10, rel=0.12) and np.std(cols) == pytest.approx(12, rel=0.12)


def test_the_same_seed_gives_the_same_noise():
    mask = np.ones((50, 50), dtype=bool)

    assert noisy_box(mask, np.random.default_rng(3)) == noisy_box(mask, np.random.default_rng(3))
    assert noisy_first_click(mask, np.random.default_rng(3)) == noisy_first_click(mask, np.random.default_rng(3))
