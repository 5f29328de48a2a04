import numpy as np
import pytest

from SAMFinetuneLogic.evaluation.baselines import points as baselines
from SAMFinetuneLogic.metrics import Click, dice


def scene(mask):
    noise = np.random.default_rng(0).normal(0, 5, mask.shape)
    return (mask * 110 + 60 + noise).clip(0, 255).astype(np.uint8)


def test_discs_are_added_and_taken_away_in_order():
    shape = (60, 60)
    rows, cols = np.mgrid[:60, :60]
    near = [(rows - r) ** 2 + (cols - c) ** 2 <= 10.5**2 for r, c in ((20, 20), (25, 25), (22, 30))]
    clicks = [Click(20, 20), Click(25, 25, positive=False), Click(22, 30)]

    assert np.array_equal(baselines.disc(shape, clicks[:1], 10.5), near[0])
    assert np.array_equal(baselines.disc(shape, clicks[:2], 10.5), near[0] & ~near[1])
    assert np.array_equal(baselines.disc(shape, clicks, 10.5), (near[0] & ~near[1]) | near[2])


def test_a_disc_is_cut_off_at_the_border():
    mask = baselines.disc((20, 20), [Click(0, 19)], 4.0)

    assert mask[0, 19] and mask.sum() == sum(r * r + c * c <= 16 for r in range(5) for c in range(5))


@pytest.mark.parametrize("method", [baselines.watershed, baselines.random_walker])
def test_one_click_finds_a_clear_structure(method, a_disc):
    assert dice(method(scene(a_disc), [Click(25, 40)]), a_disc) > 0.93


@pytest.mark.parametrize("method", [baselines.watershed, baselines.random_walker])
def test_a_negative_click_takes_a_neighbour_away(method, a_disc):
    other = np.roll(a_disc, 20, axis=0)
    image = scene(a_disc | other)

    one = method(image, [Click(20, 40)])
    two = method(image, [Click(20, 40), Click(50, 40, positive=False)])

    assert one[50, 40] and not two[50, 40]
    assert dice(two, a_disc) > dice(one, a_disc)


def test_the_random_walker_answers_large_slices_on_their_own_pixels(a_disc):
    mask = np.kron(a_disc, np.ones((6, 6), dtype=bool))  # 360 x 420

    found = baselines.random_walker(scene(mask), [Click(25 * 6 + 3, 40 * 6 + 3), Click(359, 419, positive=False)])

    assert found.shape == mask.shape
    assert dice(found, mask) > 0.95


@pytest.mark.parametrize("method", [baselines.watershed, baselines.random_walker])
@pytest.mark.parametrize("click", [Click(0, 0), Click(9, 5), Click(4, 4)])
def test_flat_images_and_clicks_at_the_border_are_answered(method, click):
    mask = method(np.full((10, 12), 7, dtype=np.uint8), [click])

    assert mask.shape == (10, 12) and mask.dtype == bool
    assert mask[click.row, click.col]
