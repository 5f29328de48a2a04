"""What each kind of image looks like, on a disc whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from SAMFinetuneLogic.synthetic.appearance import STYLES, Appearance, random_appearance, render
from SAMFinetuneLogic.synthetic.label_maps import LabelTree, random_label_tree

SIZE = 96
ROWS, COLS = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
RADIUS = np.hypot(ROWS, COLS)


def a_disc():
    return LabelTree((RADIUS < 30).astype(np.uint8), [0, 0])


def a_look(style, **changes):
    """A bright disc without texture, shading or noise."""
    means, none = np.array([0.2, 0.8]), np.zeros(2)
    plain = Appearance(style, means, none, np.zeros((2, 2)), (8.0, 30.0), 0.4, 0.0, 0.0, 1.0, 1.0, seed=3)
    return replace(plain, **changes)


def rendered(style, **changes):
    return render(np.random.default_rng(1), a_disc(), a_look(style, **changes)).astype(float)


@pytest.mark.parametrize("style", STYLES)
def test_each_style_shows_the_structure_in_eight_bits(style):
    image = render(np.random.default_rng(0), a_disc(), a_look(style, noise=0.03))

    assert image.shape == (SIZE, SIZE) and image.dtype == np.uint8
    assert abs(float(image[RADIUS < 25].mean()) - float(image[(RADIUS > 33) & (RADIUS < 40)].mean())) > 20


def test_pixels_on_the_outline_belong_in_part_to_both_sides():
    def between(blur):
        image = rendered("plain", blur=blur)
        return np.count_nonzero((image > 40) & (image < 215))

    assert between(0.4) < 20 < 100 < between(1.0) < between(2.5)


def test_noise_of_mr_is_that_of_a_magnitude():
    """Rayleigh's distribution, whose skewness is 0.63, where there is no signal; normal in others."""

    def skewness(style):
        return stats.skew(rendered(style, means=np.array([0.0, 0.8]), noise=0.1)[RADIUS > 35])

    assert skewness("mr") > 0.4
    assert abs(skewness("plain")) < 0.25


def test_speckle_of_ultrasound_grows_with_the_signal():
    image = rendered("ultrasound", means=np.array([0.25, 0.7]), seed=0)
    bright, dark = image[RADIUS < 20], image[(RADIUS > 34) & (RADIUS < 44)]

    assert bright.std() > 1.5 * dark[dark > 0].std()


def test_an_x_ray_has_bones_over_everything():
    flat, film = rendered("plain"), rendered("xray")

    assert flat[RADIUS < 20].std() < 1
    assert film[RADIUS < 20].std() > 5


def test_texture_and_resolution_belong_to_the_look():
    plain, textured = rendered("plain"), rendered("plain", textures=np.array([0.0, 0.2]))
    assert textured[RADIUS < 20].std() > plain[RADIUS < 20].std() + 5
    coarse = rendered("plain", resolution=0.25)
    assert np.abs(np.diff(coarse, axis=0)).max() < 0.6 * np.abs(np.diff(plain, axis=0)).max()


def test_looks_are_broad():
    rng = np.random.default_rng(0)
    looks, steps = [], []
    for _ in range(150):
        tree = random_label_tree(rng, 32)
        look = random_appearance(rng, tree)
        looks.append(look)
        inner = [n for n in range(1, len(tree.parents)) if tree.parents[n]]
        steps += [abs(look.means[n] - look.means[tree.parents[n]]) for n in inner]

    assert {look.style for look in looks} == set(STYLES)
    low, high = np.percentile(steps, [10, 80])
    assert low < 0.06 and high > 0.25, "neighbours of next to no contrast, and of a clear one"
    assert min(look.blur for look in looks if look.style == "pet") >= 1.5
    assert {look.resolution for look in looks} == {1.0, 0.6, 0.4, 0.25}
