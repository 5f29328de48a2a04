"""Gray values beside a network's answer to a box: structures whose truth is known."""

import numpy as np
import pytest
from scipy import ndimage

from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.box_evidence import MARGIN, with_gray_values

SHAPE = (80, 96)
BOX = np.array([20.0, 24.0, 59.0, 75.0])
ROWS, COLS = np.indices(SHAPE)
ELLIPSE = ((ROWS - 39.5) / 20) ** 2 + ((COLS - 49.5) / 26) ** 2 <= 1
HOLLOW = ((ROWS - 31) / 17) ** 2 + ((COLS - 49.5) / 21) ** 2 <= 1
CRESCENT = ELLIPSE & ~HOLLOW


def picture(mask, contrast=60.0, noise=8.0, seed=0):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(100 + contrast * mask, 0.6) + rng.normal(0, noise, mask.shape)


def believed(mask, strength=4.0):
    return (strength * np.tanh(0.5 * (_depth(mask) - 0.5))).astype(np.float32)


def _depth(mask):
    return ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)


def test_an_ellipse_is_corrected_to_what_differs_from_the_surroundings():
    disc = ((ROWS - 39.5) / 20) ** 2 + ((COLS - 49.5) / 26) ** 2 <= 1
    notched = disc & ~((ROWS < 38) & (COLS > 52))
    before = dice(ELLIPSE, notched)
    corrected, *_ = with_gray_values(picture(notched), BOX, believed(ELLIPSE))
    assert before < 0.9 < 0.95 < dice(corrected > 0, notched)


def test_an_answer_to_the_wrong_part_of_the_box_has_the_right_one_among_the_alternatives():
    answer = believed(HOLLOW & ELLIPSE)
    found = with_gray_values(picture(CRESCENT), BOX, answer)
    assert dice(answer > 0, CRESCENT) < 0.2
    assert max(dice(each > 0, CRESCENT) for each in found) > 0.9
    assert 2 <= len(found) <= 4


def test_alternatives_differ_and_fill_the_box():
    found = [each > 0 for each in with_gray_values(picture(CRESCENT), BOX, believed(ELLIPSE))]
    for number, mask in enumerate(found[1:], 1):
        for earlier in found[:number]:
            assert (mask & earlier).sum() / (mask | earlier).sum() < 0.85
        rows, cols = np.nonzero(mask)
        assert np.ptp(rows) > 20 and np.ptp(cols) > 26


def test_a_right_answer_stays():
    corrected, *_ = with_gray_values(picture(ELLIPSE), BOX, believed(ELLIPSE))
    assert dice(corrected > 0, ELLIPSE) > 0.98


def test_without_contrast_the_very_answer_comes_back():
    answer = believed(ELLIPSE)
    (same,) = with_gray_values(np.full(SHAPE, 7.0), BOX, answer)
    assert same is answer


def test_where_nothing_is_believed_the_border_is_the_best_one_between_two_known_distributions():
    """Half of the box is brighter by three standard deviations: whatever is nearer to the brighter mean is inside."""
    rng = np.random.default_rng(3)
    inside = (ROWS >= 20) & (ROWS <= 59) & (COLS >= 24) & (COLS <= 75) & ((COLS // 13 + ROWS // 13) % 2 == 0)
    gray = np.where(inside, 130.0, 100.0) + rng.normal(0, 5.0, SHAPE)
    smooth = ndimage.gaussian_filter(gray, 52 / 80)
    best = (smooth > 115) & (ROWS >= 20) & (ROWS <= 59) & (COLS >= 24) & (COLS <= 75)
    corrected, *_ = with_gray_values(gray, BOX, np.zeros(SHAPE, dtype=np.float32))
    assert dice(corrected > 0, best) > 0.9


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose])
def test_it_does_not_matter_how_the_slice_lies(turn):
    gray, answer = picture(CRESCENT), believed(ELLIPSE)
    marked = np.zeros(SHAPE, dtype=bool)
    marked[20:60, 24:76] = True
    rows, cols = np.nonzero(turn(marked))
    box = np.array([rows.min(), cols.min(), rows.max(), cols.max()], dtype=float)
    for here, there in zip(
        with_gray_values(gray, BOX, answer), with_gray_values(turn(gray), box, turn(answer)), strict=True
    ):
        assert np.allclose(turn(here), there, atol=1e-4)


@pytest.mark.parametrize("change", [lambda gray: 3 * gray - 50, lambda gray: np.exp(gray / 60)])
def test_brightness_and_contrast_of_the_image_do_not_matter(change):
    gray = ndimage.gaussian_filter(picture(CRESCENT), 1.5)
    plain, changed = (with_gray_values(each, BOX, believed(ELLIPSE))[0] for each in (gray, change(gray)))
    assert dice(plain > 0, changed > 0) > 0.97


def test_what_lies_far_from_the_box_is_never_inside():
    everywhere = np.full(SHAPE, 5.0, dtype=np.float32)
    margins = np.maximum(3, MARGIN * (BOX[2:] - BOX[:2] + 1)).astype(int)
    for levels in with_gray_values(picture(ELLIPSE), BOX, everywhere):
        rows, cols = np.nonzero(levels > 0)
        assert rows.min() >= 20 - margins[0] and rows.max() <= 59 + margins[0]
        assert cols.min() >= 24 - margins[1] and cols.max() <= 75 + margins[1]
        assert levels.dtype == np.float32


def test_a_large_image_is_answered_as_its_small_version_is():
    large = np.kron(picture(CRESCENT, noise=4.0), np.ones((9, 9)))
    box = np.concatenate([BOX[:2] * 9, BOX[2:] * 9 + 8])
    found, *_ = with_gray_values(large, box, np.kron(believed(ELLIPSE), np.ones((9, 9), dtype=np.float32)))
    small, *_ = with_gray_values(picture(CRESCENT, noise=4.0), BOX, believed(ELLIPSE))
    assert dice(found > 0, np.kron(small > 0, np.ones((9, 9), dtype=bool))) > 0.95


@pytest.mark.parametrize(
    "box", [(0, 0, 79, 95), (-3, -3, 90, 110), (10, 10, 10, 10), (0, 0, 1, 1), (79, 90, 79, 95), (30.4, 20.6, 50.2, 60)]
)
def test_boxes_of_any_size_and_place_are_answered(box):
    for levels in with_gray_values(picture(ELLIPSE), np.array(box, dtype=float), believed(ELLIPSE)):
        assert levels.shape == SHAPE and np.isfinite(levels).all()
