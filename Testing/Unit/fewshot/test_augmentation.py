import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from SAMFinetuneLogic.fewshot.augmentation import LabelledPixels, augment


def a_disc(rows, cols, spacing, radius=12.0):
    r, c = np.indices((rows, cols))
    distance = np.hypot((r - (rows - 1) / 2) * spacing[0], (c - (cols - 1) / 2) * spacing[1])
    labels = (distance < radius).astype(np.uint8)
    return LabelledPixels((60 + 120 * labels).astype(np.uint8), labels)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (3.0, 1.0)])
def test_labels_follow_the_pixels_and_a_disc_stays_round_in_millimetres(seed, spacing):
    rows = int(80 / spacing[0])
    copy = augment(a_disc(rows, 80, spacing), spacing, np.random.default_rng(seed), flips=True)
    inside, outside = copy.pixels[copy.labels == 1].mean(), copy.pixels[copy.labels == 0].mean()
    assert inside - outside > 50
    r, c = np.nonzero(copy.labels)
    tall, wide = np.ptp(r) * spacing[0] + spacing[0], np.ptp(c) * spacing[1] + spacing[1]
    assert abs(tall - wide) <= 2 * max(spacing)
    assert 24 / 1.25 - 3 < wide < 24 * 1.25 + 3


def test_the_generator_decides_and_the_source_stays():
    source = a_disc(40, 50, (1.0, 1.0))
    before = source.pixels.copy()
    one, same, other = (augment(source, (1.0, 1.0), np.random.default_rng(n)) for n in (5, 5, 6))
    np.testing.assert_array_equal(one.pixels, same.pixels)
    assert (one.pixels != other.pixels).any()
    np.testing.assert_array_equal(source.pixels, before)


def test_only_flips_mirror():
    labels = np.zeros((64, 64), dtype=np.uint8)
    labels[20:44, 4:20] = 1
    source = LabelledPixels(100 * labels, labels)

    def sides(flips):
        rng = np.random.default_rng(0)
        found = [augment(source, (1.0, 1.0), rng, flips).labels for _ in range(12)]
        return {bool(copy[:, :32].sum() > copy[:, 32:].sum()) for copy in found}

    assert sides(False) == {True}
    assert sides(True) == {True, False}


def test_colour_keeps_its_channels():
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 3)).astype(np.uint8)
    source = LabelledPixels(pixels, np.zeros((30, 20), dtype=np.uint16))
    copy = augment(source, (1.0, 2.0), np.random.default_rng(1))
    assert copy.pixels.shape == (30, 20, 3) and copy.pixels.dtype == np.uint8
    assert copy.labels.dtype == np.uint16


def test_copies_for_other_images_vary_more_and_come_to_lie_on_black():
    source = LabelledPixels(np.full((64, 64), 200, dtype=np.uint8), a_disc(64, 64, (1.0, 1.0)).labels)

    def copies(purpose):
        rng = np.random.default_rng(0)
        return [augment(source, (1.0, 1.0), rng, purpose=purpose) for _ in range(30)]

    def spread_of_areas(purpose):
        return np.std([np.log(copy.labels.sum()) for copy in copies(purpose)])

    assert spread_of_areas("other_images") > 2 * spread_of_areas("same_images")
    # One gray value everywhere: without shading the inside stays flat but for the noise, without margins all of it.
    same, other = copies("same_images"), copies("other_images")
    middles = [
        [np.ptp(uniform_filter(copy.pixels.astype(float), 9)[24:40, 24:40]) for copy in c] for c in (same, other)
    ]
    assert np.mean(middles[1]) > 2 * np.mean(middles[0])
    darkest = [min(copy.pixels[r, c] for r in (0, 63) for c in (0, 63)) for copy in other]
    assert sum(value < 60 for value in darkest) > 10
    assert all(copy.pixels.min() > 100 for copy in same)
