"""At which scale one click is answered, with a stand-in for the model whose answers are given for each scale."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.models.preprocessing import Preprocessing, SliceTransform
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.click_scales import centrality, look_around_click, rated
from SAMFinetuneLogic.prompting.crops import crop_around_click
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

SIDE = 256
CLICK = SlicePrompts(np.array([[128.0, 128.0]]), np.array([1]))
WHOLE, HALF, QUARTER, EIGHTH = SIDE, SIDE // 2, SIDE // 4, SIDE // 8
EMPTY, TOUCHING = 0, 10_000


class Oracle:
    """Answers discs around the click: ``answers`` has (radius, predicted IoU) of each candidate for each side."""

    def __init__(self, answers, size=128):
        self.model = SimpleNamespace(
            mask_size=(32, 32),
            entry=SimpleNamespace(prompts=("point", "box", "mask"), multimask=True),
            preprocessing=SimpleNamespace(size=size),
        )
        self.answers, self.asked = answers, []

    def embed(self, image):
        transform = SliceTransform(image.shape, image.spacing, Preprocessing("minmax", "longest_pad", 128))
        return EmbeddedSlice(image, torch.zeros(1, 1, 1, 1), transform)

    def predict(self, embedded, points, labels, box=None, mask_logits=None, multimask=None):
        side = max(embedded.image.shape)
        self.asked.append(side)
        rows, cols = np.indices(embedded.image.shape)
        away = np.hypot(rows - points[0, 0], cols - points[0, 1])
        logits = np.stack([np.where(away < radius, 5.0, -5.0) for radius, _ in self.answers[side]])
        ratings = np.array([rating for _, rating in self.answers[side]], dtype=np.float32)
        return Candidates(logits.astype(np.float32), np.zeros((len(logits), 32, 32), np.float32), ratings)


def ask(answers, prompts=CLICK, side=SIDE, size=128):
    """(first answer, answer after the looks, sides that were looked at)."""
    oracle = Oracle(answers, size)
    pixels = np.zeros((side, side), dtype=np.uint8)
    embedded = oracle.embed(SliceImage(pixels, (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is")))
    first = oracle.predict(embedded, prompts.points, prompts.labels)
    return first, look_around_click(oracle, embedded, prompts, first), oracle.asked[1:]


def area(radius):
    rows, cols = np.indices((SIDE, SIDE))
    return np.count_nonzero(np.hypot(rows - 128, cols - 128) < radius)


@pytest.mark.parametrize(
    "half, quarter, eighth, radius, looks",
    [
        ((20, 0.54), (5, 0.9), (4, 0.9), 40, [HALF]),  # not clearly better: nobody looks further
        ((20, 0.56), (10, 0.55), (4, 0.9), 20, [HALF, QUARTER]),
        ((20, 0.56), (10, 0.57), (4, 0.56), 10, [HALF, QUARTER, EIGHTH]),
        ((20, 0.56), (10, 0.57), (4, 0.58), 4, [HALF, QUARTER, EIGHTH]),
        ((TOUCHING, 0.9), (10, 0.56), (4, 0.5), 10, [HALF, QUARTER, EIGHTH]),
        ((EMPTY, 0.9), (10, 0.54), (4, 0.9), 40, [HALF, QUARTER]),
        ((20, 0.6), (TOUCHING, 0.9), (4, 0.9), 20, [HALF, QUARTER]),
        ((20, 0.6), (EMPTY, 0.9), (4, 0.9), 20, [HALF, QUARTER]),
        ((20, 0.6), (10, 0.7), (TOUCHING, 0.9), 10, [HALF, QUARTER, EIGHTH]),
    ],
)
def test_it_looks_closer_for_as_long_as_the_model_expects_better(half, quarter, eighth, radius, looks):
    first, answer, asked = ask({WHOLE: [(40, 0.5)], HALF: [half], QUARTER: [quarter], EIGHTH: [eighth]})
    assert asked == looks
    assert np.count_nonzero(answer.mask) == area(radius)
    assert answer.refined == (radius != 40)
    assert answer.count == first.count == 1
    assert answer.mask.shape == (SIDE, SIDE)


def test_anything_is_better_than_nothing():
    _, answer, asked = ask({WHOLE: [(EMPTY, 0.9)], HALF: [(20, 0.1)], QUARTER: [(10, 0.05)]})
    assert asked == [HALF, QUARTER]
    assert np.count_nonzero(answer.mask) == area(20) and answer.score == pytest.approx(0.1)


def test_a_rating_below_zero_is_an_answer_all_the_same():
    _, answer, _ = ask({WHOLE: [(EMPTY, 0.9)], HALF: [(20, -0.02)], QUARTER: [(10, -0.05)]})
    assert np.count_nonzero(answer.mask) == area(20)


def test_an_empty_mask_does_not_come_before_another():
    answers = {WHOLE: [(EMPTY, 0.9), (60, 0.4), (30, 0.5)], HALF: [(TOUCHING, 0.3)], QUARTER: [(EMPTY, 0.9)]}
    _, answer, _ = ask(answers)
    areas = [np.count_nonzero(mask) for mask in answer.masks]
    assert areas == [area(30), area(60), HALF * HALF] and answer.chosen == 0


def test_a_larger_and_a_smaller_structure_are_the_alternatives():
    answers = {
        WHOLE: [(40, 0.5), (42, 0.8), (70, 0.45), (80, 0.4)],
        HALF: [(20, 0.7), (21, 0.69), (9, 0.3), (45, 0.2)],
        QUARTER: [(19, 0.6), (8, 0.4), (7, 0.2), (EMPTY, 0.9)],
    }
    _, answer, _ = ask(answers)
    areas = [np.count_nonzero(mask) for mask in answer.masks]
    assert areas == [area(20), area(42), area(8), area(21)]
    np.testing.assert_allclose(answer.predicted_iou, [0.7, 0.8, 0.4, 0.69])
    assert answer.chosen == 0


def test_where_the_slice_shows_it_best_its_answer_stays_first():
    answers = {WHOLE: [(40, 0.5), (60, 0.4), (61, 0.45), (62, 0.3)], HALF: [(20, 0.3)] * 4}
    _, answer, asked = ask(answers)
    assert asked == [HALF] and not answer.refined
    areas = [np.count_nonzero(mask) for mask in answer.masks]
    assert areas == [area(40), area(61), area(20), area(60)]


def test_what_the_scales_do_not_agree_on_is_rated_lower():
    logits = np.full((3, 4, 4), -5.0, dtype=np.float32)
    logits[0, :2], logits[1, :2], logits[2, :1] = 5.0, 5.0, 5.0  # 8, 8 and 4 pixels: IoU 1 and 0.5
    answer = Candidates(logits, np.zeros((3, 2, 2), np.float32), np.array([0.8, 0.9, 0.6], dtype=np.float32))
    click = np.array([0.0, 1.0])  # no mask has a pixel that is farther from its outline
    agreeing = rated(answer, click, (1.0, 1.0))
    # The mean IoU with the others is 0.75, 0.75 and 0.5; none comes above the first.
    first, last = (0.8 * (0.1 + 0.9 * 0.75)) ** 0.5, (0.6 * (0.1 + 0.9 * 0.5)) ** 0.5
    np.testing.assert_allclose(agreeing.predicted_iou, [first, first, last], rtol=1e-6)
    np.testing.assert_array_equal(agreeing.slice_logits, answer.slice_logits)
    only = Candidates(logits[:1], np.zeros((1, 2, 2), np.float32), np.array([0.8], dtype=np.float32))
    assert rated(only, click, (1.0, 1.0)) is only


def test_what_the_click_is_not_in_the_middle_of_is_rated_lower():
    """Two bars that overlap in the clicked half of each: they agree alike, and only the place of the click differs."""
    logits = np.full((2, 11, 40), -5.0, dtype=np.float32)
    logits[0, 1:10, 2:22], logits[1, 1:10, 12:32] = 5.0, 5.0
    answer = Candidates(logits, np.zeros((2, 2, 2), np.float32), np.array([0.8, 0.8], dtype=np.float32))
    # Both bars are 9 pixels thick, so at most 5 from the outside; the click is 5 and 1 pixels from it.
    both = rated(answer, np.array([5.0, 12.0]), (1.0, 1.0)).predicted_iou
    assert both[1] / both[0] == pytest.approx((1 / 5) ** 0.25)
    # In the second alone: the first is neither thrown away nor rated 0, and the second comes not above it.
    outside = rated(answer, np.array([5.0, 30.0]), (1.0, 1.0)).predicted_iou
    assert outside[0] == outside[1] > 0.05


def test_a_predicted_iou_below_0_is_lowered_as_well():
    logits = np.full((3, 9, 30), -5.0, dtype=np.float32)
    logits[:2, :, :15], logits[2] = 5.0, 5.0
    answer = Candidates(logits, np.zeros((3, 2, 2), np.float32), np.full(3, -0.2, dtype=np.float32))
    click = np.array([4.0, 14.0])  # the first two agree, but end there; the third is like neither
    # Agreement 0.75, 0.75 and 0.5; the click is 1 of 5 pixels from the outline of the first two, 5 of 5 of the third's.
    shares = np.array([(0.1 + 0.9 * 0.75) * np.sqrt(0.2)] * 2 + [0.1 + 0.9 * 0.5])
    expected = -np.sqrt(0.2 / shares)
    np.testing.assert_allclose(
        rated(answer, click, (1.0, 1.0)).predicted_iou, np.minimum(expected, expected[0]), rtol=1e-6
    )


def test_empty_candidates_agree_with_nothing():
    logits = np.full((3, 9, 9), -5.0, dtype=np.float32)
    logits[0, 2:7, 2:7] = 5.0
    answer = Candidates(logits, np.zeros((3, 2, 2), np.float32), np.array([0.6, 0.5, 0.5], dtype=np.float32))
    ratings = rated(answer, np.array([4.0, 4.0]), (1.0, 1.0)).predicted_iou
    np.testing.assert_allclose(ratings, np.sqrt([0.6 * 0.1, 0.5 * 0.1 * 0.05**0.5, 0.5 * 0.1 * 0.05**0.5]), rtol=1e-6)


def exact_centrality(mask, spacing):
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    inside = np.argwhere(mask)
    nearest, _ = cKDTree(outside * np.array(spacing)).query(inside * np.array(spacing))
    central = np.zeros(mask.shape)
    central[tuple(inside.T)] = nearest / nearest.max()
    return central


def blob():
    mask = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(21, 26)), 3) > 0.02
    assert mask.any(axis=0).sum() == 26  # it touches the slice's border, which counts as outside
    return mask


def diagonal_band():
    rows, cols = np.mgrid[:400, :420]
    return np.abs(rows - cols) <= 5


def ring():
    rows, cols = np.mgrid[:500, :500]
    return np.abs(np.hypot(rows - 250, cols - 250) - 235) <= 3


@pytest.mark.parametrize(
    "mask, spacing, error",
    [
        (blob(), (1.0, 1.0), 1e-6),
        (blob(), (0.7, 2.5), 1e-6),
        (np.pad(np.ones((6, 480), dtype=bool), 3), (1.0, 1.0), 1e-6),
        (np.pad(np.ones((15, 400), dtype=bool), 2), (5.0, 0.7), 0.07),
        (diagonal_band(), (1.0, 1.0), 1e-6),
        (ring(), (0.8, 0.8), 1e-6),
    ],
)
def test_centrality_is_the_distance_to_the_nearest_pixel_outside(mask, spacing, error):
    """Of small and of thin masks, against a search for the nearest pixel outside of them."""
    expected = exact_centrality(mask, spacing)
    clicks = np.random.default_rng(0).permutation(np.argwhere(np.ones_like(mask)))[:20]
    clicks = np.concatenate([clicks, np.random.default_rng(1).permutation(np.argwhere(mask))[:20]])
    for row, col in clicks:
        told = centrality(mask, np.array([row + 0.3, col - 0.3]), spacing)
        assert told == pytest.approx(expected[row, col], abs=error)


@pytest.mark.parametrize("offset", [(0, 0), (37, -61), (101, 100), (0, 199)])
def test_centrality_in_a_large_disc_is_what_geometry_says(offset):
    rows, cols = np.mgrid[:700, :650]
    mask = (rows - 340) ** 2 + (cols - 330) ** 2 < 200**2
    central = centrality(mask, np.array([340.0 + offset[0], 330.0 + offset[1]]), (0.5, 0.5))
    assert central == pytest.approx(1 - np.hypot(*offset) / 200, abs=0.02)  # a cell is 4 pixels wide


@pytest.mark.parametrize(
    "prompts",
    [
        SlicePrompts(np.array([[128.0, 128.0], [100.0, 100.0]]), np.array([1, 1])),
        SlicePrompts(np.array([[128.0, 128.0]]), np.array([0])),
        SlicePrompts(np.array([[128.0, 128.0]]), np.array([1]), np.array([[90.0, 90.0, 150.0, 150.0]])),
        SlicePrompts(np.array([[128.0, 128.0]]), np.array([1]), mask=np.ones((SIDE, SIDE), dtype=bool)),
        SlicePrompts(np.array([[128.0, 128.0]]), np.array([1]), strokes=np.zeros((SIDE, SIDE), dtype=np.float32)),
    ],
)
def test_more_than_one_click_says_how_large_it_is(prompts):
    first, answer, asked = ask({WHOLE: [(40, 0.1)], HALF: [(20, 0.9)]}, prompts)
    assert answer is first and asked == []


def test_a_fine_input_sees_the_slice_well_enough():
    first, answer, asked = ask({WHOLE: [(40, 0.1)], HALF: [(20, 0.9)]}, size=1024)
    assert answer is first and asked == []


def test_a_crop_of_few_pixels_is_not_looked_at():
    click = SlicePrompts(np.array([[30.0, 30.0]]), np.array([1]))
    assert ask({60: [(20, 0.1)], 30: [(8, 0.2)]}, click, side=60)[2] == [30]
    click = SlicePrompts(np.array([[19.0, 19.0]]), np.array([1]))
    first, answer, asked = ask({38: [(15, 0.1)], 19: [(8, 0.9)]}, click, side=38)
    assert answer is first and asked == []


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.tuples(st.floats(0.2, 5.0), st.floats(0.2, 5.0)),
    st.sampled_from([1 / 2, 1 / 4, 1 / 8]),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_the_crop_around_a_click_lies_in_the_slice_and_holds_the_click(shape, spacing, share, where):
    point = np.array(where) * (np.array(shape) - 1)
    crop = crop_around_click(point, share, shape, spacing)
    assert crop.row >= 0 and crop.col >= 0 and crop.rows >= 1 and crop.cols >= 1
    assert crop.row + crop.rows <= shape[0] and crop.col + crop.cols <= shape[1]
    assert crop.row - 0.5 <= point[0] <= crop.row + crop.rows - 0.5 + 1e-9
    assert crop.col - 0.5 <= point[1] <= crop.col + crop.cols - 0.5 + 1e-9
    side = share * max(shape[0] * spacing[0], shape[1] * spacing[1])
    for length, millimetres, whole in zip((crop.rows, crop.cols), spacing, shape, strict=True):
        assert length == min(whole, max(1, round(side / millimetres)))


def test_one_click_on_a_small_structure_among_others_with_the_default_model():
    rows, cols = np.indices((512, 512))
    spots = [np.hypot(rows - row, cols - col) < 4 for row, col in ((200, 300), (200, 316), (216, 300), (184, 300))]
    body = np.hypot(rows - 256, (cols - 256) * 0.8) < 190
    noise = np.random.default_rng(0).normal(0, 12, body.shape)
    pixels = (60 * body + 70 * np.any(spots, axis=0) + noise).clip(-40, 200).astype(np.float32)
    image = SliceImage(pixels, (0.8, 0.8), SliceIndex("k", 0), Window(-50.0, 200.0, "as_is"))
    predictor = SlicePredictor(load_model("samfinetune_default", device="cpu"))
    embedded = predictor.embed(image)
    click = SlicePrompts(np.array([[200.0, 300.0]]), np.array([1]))
    plain = predict_slice(predictor, embedded, click, refine_small=False)
    closer = predict_slice(predictor, embedded, click, refine_alternatives=True)
    assert dice(plain.mask, spots[0]) < 0.5 < 0.9 < dice(closer.mask, spots[0])
    assert closer.count == plain.count


def test_the_answer_to_one_click_is_rated_as_it_is_shown(monkeypatch):
    import SAMFinetuneLogic.prompting.slice_prediction as slice_prediction

    seen = []
    monkeypatch.setattr(slice_prediction, "rated", lambda *given: seen.append(given) or rated(*given))
    rows, cols = np.indices((150, 200))
    pixels = (90 * (np.hypot(rows - 70, (cols - 90) * 1.5) < 30) + 20.0).astype(np.float32)
    pixels += np.random.default_rng(0).normal(0, 10, pixels.shape).astype(np.float32)
    image = SliceImage(pixels, (0.8, 1.2), SliceIndex("k", 0), Window(-20.0, 160.0, "as_is"))
    predictor = SlicePredictor(load_model("samfinetune_default", device="cpu"))
    embedded = predictor.embed(image)
    answer = predict_slice(predictor, embedded, SlicePrompts(np.array([[70.0, 90.0]]), np.array([1])))
    ((given, click, spacing),) = seen
    assert tuple(click) == (70.0, 90.0) and spacing == (0.8, 1.2)
    np.testing.assert_array_equal(given.masks, answer.masks)  # the islands are gone by then
    np.testing.assert_array_equal(answer.predicted_iou, rated(given, click, spacing).predicted_iou)
    assert (answer.predicted_iou != given.predicted_iou).all()
    predict_slice(predictor, embedded, SlicePrompts(np.array([[70.0, 90.0], [60.0, 85.0]]), np.array([1, 1])))
    assert len(seen) == 1
