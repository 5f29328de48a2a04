"""Gray values beside a network's answer to several clicks: structures whose truth is known."""

import numpy as np
import pytest
from scipy import ndimage
from sharp_eyes import SharpEyes

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.click_evidence import look_at_gray_values, with_clicks_and_gray_values
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.slice_image import SliceImage

SHAPE = (80, 96)
ROWS, COLS = np.indices(SHAPE)
ELLIPSE = ((ROWS - 39.5) / 20) ** 2 + ((COLS - 49.5) / 26) ** 2 <= 1
NOTCHED = ELLIPSE & ~((ROWS < 38) & (COLS > 52))
BOX = np.array([[20.0, 24.0, 59.0, 75.0]])
POINTS, LABELS = np.array([[45.0, 40.0], [28.0, 60.0]]), np.array([1, 0])


def picture(mask, contrast=60.0, noise=8.0, seed=0):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(100 + contrast * mask, 0.6) + rng.normal(0, noise, mask.shape)


def believed(mask, strength=4.0):
    depth = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return (strength * np.tanh(0.5 * (depth - 0.5))).astype(np.float32)


def test_what_differs_from_the_rest_is_taken_out():
    answer = believed(ELLIPSE, strength=1.0)
    found = with_clicks_and_gray_values(picture(NOTCHED), POINTS, LABELS, answer)
    assert dice(ELLIPSE, NOTCHED) < 0.9 < 0.94 < dice(found > 0, NOTCHED)


def test_what_the_answer_had_missed_is_added():
    half = ELLIPSE & (COLS < 60)
    found = with_clicks_and_gray_values(picture(ELLIPSE), POINTS[:1], LABELS[:1], believed(half, strength=1.0))
    assert dice(half, ELLIPSE) < 0.9 < 0.97 < dice(found > 0, ELLIPSE)


def test_a_right_answer_stays():
    found = with_clicks_and_gray_values(picture(ELLIPSE), POINTS[:1], LABELS[:1], believed(ELLIPSE))
    assert dice(found > 0, ELLIPSE) > 0.98


@pytest.mark.parametrize("seed", range(12))
def test_no_click_is_given_up_for_gray_values(seed):
    """Noise for an image, blobs for an answer, and clicks anywhere, some against the answer."""
    rng = np.random.default_rng(seed)
    gray = ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), rng.uniform(0, 4))
    answer = (8 * ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), 4) / 0.07).astype(np.float32)
    points = rng.uniform(0, SHAPE, (6, 2)) - 0.4
    labels = rng.integers(0, 2, 6)
    pixels = np.clip(np.floor(points + 0.5).astype(int), 0, np.array(SHAPE) - 1)

    def honoured(logits):
        return ((logits[pixels[:, 0], pixels[:, 1]] > 0) == (labels == 1)).sum()

    assert honoured(with_clicks_and_gray_values(gray, points, labels, answer)) >= honoured(answer)


def test_where_gray_values_say_nothing_the_very_answer_comes_back():
    answer = believed(ELLIPSE)
    assert with_clicks_and_gray_values(np.full(SHAPE, 7.0), POINTS, LABELS, answer) is answer
    speck = np.zeros(SHAPE, dtype=bool)
    speck[40, 40:45] = True
    answer = believed(speck)
    assert np.count_nonzero(answer > 0) == 5
    assert with_clicks_and_gray_values(picture(speck), POINTS, LABELS, answer) is answer


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose])
def test_it_does_not_matter_how_the_slice_lies(turn):
    gray, answer, clicks = picture(NOTCHED), believed(ELLIPSE), np.zeros(SHAPE, dtype=int)
    clicks[45, 40], clicks[28, 60] = 1, 2
    there = turn(clicks)
    points = np.array([np.argwhere(there == 1)[0], np.argwhere(there == 2)[0]], dtype=float)
    plain = with_clicks_and_gray_values(gray, POINTS, LABELS, answer)
    turned = with_clicks_and_gray_values(turn(gray), points, LABELS, turn(answer))
    assert dice(turn(plain > 0), turned > 0) > 0.995


def test_only_the_order_of_gray_values_counts():
    gray = np.clip(picture(NOTCHED), 1, None)
    plain, changed = (
        with_clicks_and_gray_values(each, POINTS, LABELS, believed(ELLIPSE)) for each in (gray, 1000 - gray)
    )
    assert dice(plain > 0, changed > 0) > 0.99


def test_a_large_image_is_averaged_and_answers_the_same():
    gray, answer = picture(NOTCHED, noise=4.0), believed(ELLIPSE)
    large = [np.kron(each, np.ones((9, 9), dtype=each.dtype)) for each in (gray, answer)]
    small = with_clicks_and_gray_values(gray, POINTS, LABELS, answer)
    found = with_clicks_and_gray_values(large[0], 9 * POINTS + 4, LABELS, large[1])
    assert found.shape == large[1].shape
    assert dice(np.kron(small > 0, np.ones((9, 9), dtype=bool)), found > 0) > 0.97


def test_thick_slices_seen_from_the_side_keep_their_rows():
    """60 rows of 5 mm and 512 columns of 0.7 mm: a body of 15 rows."""
    spacing, (rows, cols) = (5.0, 0.7), np.indices((60, 512))
    truth = ((rows - 30) / 7.5) ** 2 + ((cols - 250) / 60) ** 2 <= 1
    gray = 100 + 60.0 * truth + np.random.default_rng(0).normal(0, 8, truth.shape)
    found = with_clicks_and_gray_values(
        gray, np.array([[30.0, 250.0], [5.0, 20.0]]), LABELS, believed(truth, strength=2.0), spacing=spacing
    )
    assert dice(found > 0, truth) > 0.97


def test_what_is_too_thin_for_the_cells_stays_as_it_is():
    rows, cols = np.indices((512, 512))
    ring = np.abs(np.hypot(rows - 255, cols - 255) - 180) < 2
    answer = np.where(ring, 3.0, -3.0).astype(np.float32)
    gray = 100 + 60.0 * ring + np.random.default_rng(0).normal(0, 8, ring.shape)
    assert with_clicks_and_gray_values(gray, np.array([[75.0, 255.0]]), np.array([1]), answer) is answer


def test_what_lies_outside_of_a_box_is_not_the_structure():
    """A bright bar goes on beyond the box."""
    bar = (np.abs(ROWS - 40) < 12) & (COLS < 80)
    box = np.array([28.0, 10.0, 52.0, 50.0])
    answer = believed(bar & (COLS >= 10) & (COLS <= 50), strength=1.0)
    points = np.array([[40.0, 30.0]])
    without = with_clicks_and_gray_values(picture(bar), points, LABELS[:1], answer) > 0
    within = with_clicks_and_gray_values(picture(bar), points, LABELS[:1], answer, box) > 0
    assert without[:, 53:].sum() > 100 > 20 > within[:, 53:].sum()
    assert dice(within, bar & (COLS >= 10) & (COLS <= 50)) > 0.95


def test_what_is_fed_back_is_never_empty():
    eyes = SharpEyes()
    embedded = embedded_picture(eyes)
    sure_of_nothing = np.where(ELLIPSE & (COLS < 40), 0.5, -60.0)[None].astype(np.float32)
    answer = Candidates(sure_of_nothing, np.zeros((1, 16, 16), np.float32), np.array([0.8], dtype=np.float32))
    found = look_at_gray_values(eyes, embedded, SlicePrompts(POINTS, LABELS), answer)
    assert found.mask.any() and (found.mask_logits > 0).any()


def embedded_picture(eyes):
    window = Window(0.0, 255.0, "as_is")
    return eyes.embed(SliceImage(picture(NOTCHED).astype(np.float32), (1.0, 1.0), SliceIndex("k", 0), window))


def two_answers(eyes, embedded):
    logits = np.stack([believed(ELLIPSE, strength=1.0), believed(ELLIPSE & (COLS < 50), strength=1.0)])
    return Candidates(logits, np.zeros((2, 16, 16), np.float32), np.array([0.8, 0.7], dtype=np.float32), chosen=1)


def test_the_chosen_mask_is_corrected_and_half_of_it_fed_back():
    eyes = SharpEyes()
    embedded = embedded_picture(eyes)
    answer = two_answers(eyes, embedded)
    found = look_at_gray_values(eyes, embedded, SlicePrompts(POINTS, LABELS), answer)
    corrected = with_clicks_and_gray_values(embedded.image.gray, POINTS, LABELS, answer.slice_logits[1])
    np.testing.assert_array_equal(found.slice_logits[1], corrected)
    np.testing.assert_array_equal(found.slice_logits[0], answer.slice_logits[0])
    np.testing.assert_array_equal(found.logits[0], answer.logits[0])
    mean = np.mean([corrected, answer.slice_logits[1]], axis=0)
    np.testing.assert_allclose(found.logits[1], embedded.transform.mask_to_prompt(mean, (16, 16))[0], atol=1e-5)
    assert found.score == answer.score


def test_a_click_after_a_box_is_a_correction():
    eyes = SharpEyes()
    embedded = embedded_picture(eyes)
    answer = two_answers(eyes, embedded).choose(0)
    found = look_at_gray_values(eyes, embedded, SlicePrompts(POINTS[1:], LABELS[1:], BOX), answer)
    assert dice(answer.mask, NOTCHED) < 0.9 < 0.94 < dice(found.mask, NOTCHED)


@pytest.mark.parametrize(
    "prompts",
    [
        SlicePrompts(POINTS[:1], LABELS[:1]),
        SlicePrompts(boxes=BOX),
        SlicePrompts(POINTS, LABELS, mask=np.ones(SHAPE, dtype=bool)),
        SlicePrompts(POINTS, LABELS, strokes=np.zeros(SHAPE, dtype=np.float32)),
    ],
)
def test_a_single_prompt_and_what_is_drawn_are_left_alone(prompts):
    eyes = SharpEyes()
    embedded = embedded_picture(eyes)
    answer = two_answers(eyes, embedded)
    assert look_at_gray_values(eyes, embedded, prompts, answer) is answer


def test_a_fine_input_needs_no_gray_values():
    eyes = SharpEyes()
    embedded = embedded_picture(eyes)
    answer = two_answers(eyes, embedded)
    eyes.model.preprocessing.size = 1024
    assert look_at_gray_values(eyes, embedded, SlicePrompts(POINTS, LABELS), answer) is answer
