"""Outlines that the image carries along."""

import numpy as np
import pytest
from scipy import ndimage

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import extent_of
from SAMFinetuneLogic.propagation.interpolation import InterpolationCandidate
from SAMFinetuneLogic.propagation.motion import MAX_SIDE, MotionCandidate, displacement, warped
from SAMFinetuneLogic.propagation.taper import LEAST, TRUST

WINDOW = Window(0, 255, "as_is")


def texture(shape, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3.0, mode="wrap")
    return (128 + 40 * noise / noise.std()).clip(0, 255).astype(np.float32)


@pytest.mark.parametrize("shape", [(60, 72), (2 * MAX_SIDE, 200)])
@pytest.mark.parametrize("shift", [(3, 0), (0, -4), (-2, 2)])
def test_a_shift_is_found(shape, shift):
    moving = texture(shape)
    moved = displacement(moving, np.roll(moving, shift, axis=(0, 1)))

    inner = moved[:, 12:-12, 12:-12]
    assert np.median(np.abs(inner[0] + shift[0])) < 0.5
    assert np.median(np.abs(inner[1] + shift[1])) < 0.5


def test_a_smooth_deformation_is_undone():
    rows, cols = np.mgrid[:80, :80].astype(np.float32)
    bend = np.stack([2.5 * np.sin(cols / 12), 2.0 * np.cos(rows / 15)])
    moving = texture((80, 80))
    fixed = ndimage.map_coordinates(moving, np.stack([rows, cols]) + bend, order=1, mode="nearest")
    moved = displacement(moving, fixed)

    assert moved.shape == (2, 80, 80)
    before, after = np.abs(fixed - moving), np.abs(fixed - warped(moving, moved))
    assert after[8:-8, 8:-8].mean() < 0.2 * before[8:-8, 8:-8].mean()
    assert np.abs(moved - bend)[:, 8:-8, 8:-8].mean() < 0.4 < np.abs(bend).mean()


def test_equal_slices_do_not_move():
    plane = texture((40, 50))
    assert np.abs(displacement(plane, plane)).max() < 1e-3
    assert not displacement(np.full((20, 30), 7, np.float32), np.full((20, 30), 7, np.float32)).any()


def test_without_displacement_a_plane_stays():
    plane = texture((20, 30))
    np.testing.assert_allclose(warped(plane, np.zeros((2, 20, 30), np.float32)), plane)


@pytest.fixture
def a_wandering_part():
    """A texture that wanders by two pixels a slice, of which a disc is a part that nothing tells from the rest."""
    plane = texture((72, 72), seed=1)
    rows, cols = np.mgrid[:72, :72]
    gray = np.stack([np.roll(plane, 2 * k, axis=1) for k in range(9)])
    truth = np.stack([(rows - 36) ** 2 + (cols - 28 - 2 * k) ** 2 <= 9**2 for k in range(9)])
    return truth, Volume(gray.astype(np.uint8), np.eye(4))


def annotated(volume, truth, *indices):
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[list(indices)] = truth[list(indices)]
    return Annotations.of(volume, LabelMap(drawn, np.eye(4)), "k", indices)


def fitted(volume, annotations, first=None, last=None, **more):
    extents = {1: extent_of(annotations, 1, first, last)}
    return MotionCandidate(volume, WINDOW, annotations, extents, **more).fit(annotations)


def test_what_cannot_be_told_by_gray_values_is_followed(a_wandering_part):
    truth, volume = a_wandering_part
    annotations = annotated(volume, truth, 0)
    moved = fitted(volume, annotations, 0, 8)
    held = InterpolationCandidate().fit(annotations)

    for index in (2, 5, 8):
        assert dice(moved.predict(1, index).mask(), truth[index]) > 0.9
    assert dice(held.predict(1, 8).mask(), truth[8]) < 0.3


def test_both_sides_count_by_distance(a_wandering_part):
    truth, volume = a_wandering_part
    wrong = truth.copy()
    wrong[8] = ndimage.binary_dilation(truth[8], iterations=4)
    moved = fitted(volume, annotated(volume, wrong, 0, 8))
    areas = [moved.predict(1, index).area for index in range(1, 8)]

    assert truth[0].sum() <= areas[0] < areas[3] < areas[6] < wrong[8].sum()


def test_a_slice_left_out_is_not_known(a_wandering_part):
    truth, volume = a_wandering_part
    wrong = truth.copy()
    wrong[4] = False
    wrong[4, :10, :10] = True
    annotations = annotated(volume, wrong, 0, 4, 8)
    extents = {1: extent_of(annotations, 1)}
    left_out = MotionCandidate(volume, WINDOW, annotations, extents).fit(annotations.without(4))

    assert dice(left_out.predict(1, 4).mask(), truth[4]) > 0.9


def test_it_shrinks_towards_an_end_that_is_not_known_and_towards_an_empty_slice(a_wandering_part):
    truth, volume = a_wandering_part
    smaller = np.stack([ndimage.binary_erosion(mask, iterations=4) for mask in truth])
    annotations = annotated(volume, smaller, 0)
    unknown, known = fitted(volume, annotations), fitted(volume, annotations, 0, 8)
    last = extent_of(annotations, 1).last
    assert 2 < last < 8
    assert known.predict(1, last).area > 0.9 * smaller[last].sum()
    assert unknown.predict(1, last).area < 0.7 * known.predict(1, last).area < unknown.predict(1, 1).area

    ends = truth.copy()
    ends[6] = False
    known, vanishing = fitted(volume, annotated(volume, truth, 0), 0, 8), fitted(volume, annotated(volume, ends, 0, 6))
    assert vanishing.predict(1, 5).area < 0.7 * known.predict(1, 5).area
    assert vanishing.predict(1, 7) is None


def test_it_tapers_towards_a_known_end(a_wandering_part):
    truth, volume = a_wandering_part
    annotations = annotated(volume, truth, 0)
    to_the_range, to_the_volumes_end = fitted(volume, annotations, 0, 7), fitted(volume, annotations, 0, 8)
    areas = [to_the_range.predict(1, index).area for index in range(1, 8)]

    free = [to_the_volumes_end.predict(1, index).area for index in range(1, 8)]
    expected = [truth[0].sum() * max(1 - (index / 8) ** 2, LEAST) for index in range(1, 8)]
    wanted = np.array(free) ** (1 - TRUST) * np.array(expected) ** TRUST
    np.testing.assert_allclose(areas, wanted, rtol=0.1)


def test_it_stops_when_asked_to(a_wandering_part):
    truth, volume = a_wandering_part
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 2

    moved = fitted(volume, annotated(volume, truth, 0), 0, 8, cancelled=cancelled)
    with pytest.raises(Cancelled):
        moved.predict(1, 8)
    assert len(asked) == 3
