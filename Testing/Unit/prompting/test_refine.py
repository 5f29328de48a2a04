"""The second look at small structures, with a stand-in for the model that sees the image at its input resolution."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sharp_eyes import SharpEyes, ask, dice, disc

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.box_look import beside_what_fills, look_into_box
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.crops import MIN_CROP_PIXELS, crop_around, crop_around_box, object_bounds
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.refine import refine, refine_others
from SAMFinetuneLogic.prompting.slice_image import SliceImage


@pytest.mark.parametrize(
    "shape, radius, spacing",
    [
        ((512, 512), 30, (1.0, 1.0)),
        ((300, 512), 25, (1.0, 1.0)),
        ((120, 500), 30, (4.0, 1.0)),
        ((96, 80), 9, (1.0, 1.0)),
    ],
)
def test_a_small_object_is_drawn_finer(shape, radius, spacing):
    truth = disc(shape, (shape[0] * 0.4, shape[1] * 0.55), radius, spacing)
    first, second, _ = ask(truth, spacing)
    assert second.refined and not first.refined
    assert second.masks.shape == first.masks.shape
    assert dice(second.mask, truth) > max(0.95, dice(first.mask, truth))
    assert second.score == pytest.approx(0.95)
    # What is fed back at the next click is the finer mask, at the decoder's resolution.
    assert second.mask_logits.shape == (16, 16) and second.mask_logits.max() > 0 > second.mask_logits.min()


def test_prompts_and_the_first_mask_go_along():
    truth = disc((400, 400), (90, 300), 20)
    _, _, eyes = ask(truth, box=(68, 278, 112, 322))
    question = eyes.asked[1]
    crop = question.embedded.image.crop
    np.testing.assert_allclose(question.points[0] + (crop.row, crop.col), (90, 300))
    np.testing.assert_allclose(question.box, np.array([68, 278, 112, 322]) - [crop.row, crop.col] * 2)
    assert question.multimask is False
    on_crop = question.embedded.transform.logits_to_slice(torch.as_tensor(question.mask)) > 0
    assert dice(on_crop.numpy(), truth[crop.slices]) > 0.7


def test_a_large_object_and_a_small_slice_need_no_second_look():
    assert not ask(disc((512, 512), (250, 250), 120))[1].refined
    assert not ask(disc((32, 32), (16, 16), 4))[1].refined  # nothing finer to see


def test_an_object_below_the_first_look_is_found_in_its_box():
    truth = disc((512, 512), (100, 100), 3)
    first, second, _ = ask(truth, box=(96, 96, 104, 104))
    assert not first.mask.any()
    assert second.refined and dice(second.mask, truth) > 0.7


@pytest.mark.parametrize(
    "second",
    [
        lambda logits: torch.full_like(logits, -5.0),
        lambda logits: torch.full_like(logits, 5.0),
        lambda logits: -logits,
        lambda logits: torch.where(torch.arange(logits.shape[-1]) < 3, 5.0, -5.0).expand_as(logits),
    ],
    ids=["empty", "everything", "inverse", "elsewhere"],
)
def test_the_first_answer_stays_where_the_second_disagrees_wildly(second):
    truth = disc((512, 512), (200, 250), 30)
    first, kept, eyes = ask(truth, eyes=SharpEyes(second))
    assert kept is first and len(eyes.asked) == 2


def test_only_the_chosen_candidate_is_drawn_anew():
    truth = disc((512, 512), (200, 250), 30)
    first, _, eyes = ask(truth)
    two = Candidates(np.repeat(first.slice_logits, 2, 0), np.repeat(first.logits, 2, 0), np.array([0.9, 0.8]))
    prompts = SlicePrompts(np.array([[200.0, 250.0]]), np.array([1]))
    second = refine(eyes, eyes.asked[0].embedded, prompts, two.next())
    assert second.refined and second.chosen == 1
    np.testing.assert_array_equal(second.slice_logits[0], two.slice_logits[0])
    assert not second.next().refined


def test_the_others_are_drawn_anew_as_each_would_be_if_it_were_chosen():
    truth = disc((512, 512), (200, 250), 30)
    first, _, eyes = ask(truth)
    larger = np.where(disc((512, 512), (200, 250), 45), 4.0, -4.0).astype(np.float32)
    two = Candidates(np.stack([first.slice_logits[0], larger]), np.repeat(first.logits, 2, 0), np.array([0.9, 0.8]))
    prompts, embedded = SlicePrompts(np.array([[200.0, 250.0]]), np.array([1])), eyes.asked[0].embedded
    shown = refine(eyes, embedded, prompts, two)
    both = refine_others(eyes, embedded, prompts, shown)

    assert both.chosen == 0 and both.refined
    np.testing.assert_array_equal(both.slice_logits[0], shown.slice_logits[0])
    alone = refine(eyes, embedded, prompts, two.next())
    np.testing.assert_array_equal(both.slice_logits[1], alone.slice_logits[1])
    assert dice(both.next().mask, truth) > 0.95 > dice(two.next().mask, truth)


def test_a_real_model_refines_and_caches(a_model):
    truth = disc((300, 300), (100, 150), 20)
    predictor = SlicePredictor(a_model)
    image = SliceImage(255 * truth.astype(np.uint8), (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    embedded = predictor.embed(image)
    prompts = SlicePrompts(np.array([[100.0, 150.0]]), np.array([1]), np.array([[80.0, 130, 120, 170]]))
    first = predictor.predict(embedded, prompts.points, prompts.labels, prompts.boxes[0])
    answer = refine(predictor, embedded, prompts, replace(first, slice_logits=np.where(truth, 3.0, -3.0)[None]))
    assert answer.masks.shape == (1, 300, 300)


# Boxes


def box_question(box, shape=(400, 400), eyes=None, points=()):
    """(answer, stand-in) for a box around a bright disc."""
    eyes = eyes or SharpEyes()
    truth = disc(shape, (90, 300), 20)
    image = SliceImage(255 * truth.astype(np.uint8), (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    points = np.array(points, dtype=float).reshape(-1, 2)
    prompts = SlicePrompts(points, np.ones(len(points), dtype=int), np.array([box], dtype=float))
    return truth, look_into_box(eyes, eyes.embed(image), prompts), eyes


def test_a_box_is_looked_into_at_once():
    truth, answer, eyes = box_question((71, 281, 109, 319))
    assert len(eyes.asked) == 1 and eyes.asked[0].mask is None and eyes.asked[0].multimask is True
    assert dice(answer.mask, truth) > 0.97 and answer.refined
    assert answer.mask_logits.shape == (16, 16)
    crop = eyes.asked[0].embedded.image.crop
    assert crop.row <= 71 and crop.col <= 281 and crop.row + crop.rows > 109 and crop.col + crop.cols > 319
    assert (answer.slice_logits[0][: crop.row] == -7).all()


def test_clicks_in_a_box_go_along_and_leave_one_answer():
    truth, answer, eyes = box_question((71, 281, 109, 319), points=[(90, 300)])
    crop = eyes.asked[0].embedded.image.crop
    np.testing.assert_allclose(eyes.asked[0].points[0] + (crop.row, crop.col), (90, 300))
    assert eyes.asked[0].multimask is False and dice(answer.mask, truth) > 0.97


def test_of_several_answers_to_a_box_the_one_that_fills_it_comes_first():
    class Undecided(SharpEyes):
        def predict(self, *arguments, **named):
            found = super().predict(*arguments, **named)
            rows = np.arange(found.slice_logits.shape[1])[:, None]
            upper_half = np.where(rows < found.slice_logits.shape[1] / 2, found.slice_logits, -5.0)
            both = np.concatenate([upper_half, found.slice_logits])
            return Candidates(both, np.repeat(found.logits, 2, 0), np.array([0.9, 0.3], dtype=np.float32))

    truth, answer, _ = box_question((71, 281, 109, 319), eyes=Undecided())
    assert dice(answer.mask, truth) > 0.97 and answer.score == pytest.approx(0.3) and answer.count >= 2
    as_it_was = answer.choose(answer.count - 1)
    assert dice(as_it_was.mask, truth) > 0.97 and as_it_was.score == pytest.approx(0.3)
    assert (answer.predicted_iou <= 0.3 + 1e-6).all()


def bars_and_disc(*bars):
    """(bars, disc beside them, answer to the box 60 to 139 by 200 to 279): all of them bright."""
    structure = np.zeros((400, 400), dtype=bool)
    for bar in bars:
        structure[bar] = True
    other = disc(structure.shape, (85, 245), 12)
    assert not (structure & other).any()
    pixels = (200 * (structure | other)).astype(np.uint8)
    image = SliceImage(pixels, (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    eyes = SharpEyes()
    return (
        structure,
        other,
        look_into_box(eyes, eyes.embed(image), SlicePrompts(boxes=np.array([[60.0, 200, 139, 279]]))),
    )


def test_what_lies_beside_a_part_that_fills_the_box_is_left_out():
    structure, other, answer = bars_and_disc(np.s_[60:140, 200:220], np.s_[120:140, 200:280])  # an L
    assert dice(answer.mask, structure) > 0.97 and not (answer.mask & other).any()
    assert dice(answer.choose(answer.count - 1).mask, structure | other) > 0.93  # as it was, coarse: still offered
    assert answer.mask_logits[85 * 16 // 400, 245 * 16 // 400] < 0  # and does not come back with the next click


def test_parts_that_fill_the_box_together_stay():
    structure, other, answer = bars_and_disc(np.s_[60:140, 200:220], np.s_[60:140, 262:280])
    assert dice(answer.mask, structure | other) > 0.95 and answer.mask[other].mean() > 0.9


@pytest.mark.parametrize("gap, kept", [(0, True), (3, True), (8, False)])
def test_a_part_may_miss_the_box_by_a_little(gap, kept):
    """The largest part ends ``gap`` of 80 columns before the box does, where a speck touches the box's side."""
    mask = np.zeros((100, 100), dtype=bool)
    mask[10:90, 10 : 90 - gap] = True
    mask[30:60, 40 : 90 - gap] = False
    mask[40:50, 87:90] = True
    beside = beside_what_fills(mask, np.array([10.0, 10, 89, 89]))
    expected = np.zeros_like(mask)
    expected[40:50, 87:90] = kept
    np.testing.assert_array_equal(beside, expected)


def test_without_contrast_in_the_box_all_answers_stay_as_they_are():
    class Imagines(SharpEyes):
        def predict(self, *arguments, **named):
            found = super().predict(*arguments, **named)
            whole = np.full(found.slice_logits.shape[1:], 4.0, dtype=np.float32)
            half = np.where(np.arange(len(whole))[:, None] < len(whole) / 2, whole, -5.0).astype(np.float32)
            return Candidates(np.stack([whole, half]), np.repeat(found.logits, 2, 0), np.array([0.7, 0.6]))

    eyes, flat = Imagines(), np.full((400, 400), 90, dtype=np.uint8)
    image = SliceImage(flat, (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    prompts = SlicePrompts(boxes=np.array([[71.0, 281.0, 109.0, 319.0]]))
    answer = look_into_box(eyes, eyes.embed(image), prompts)
    assert answer.count == 2 and list(answer.predicted_iou) == [0.7, 0.6]
    assert set(np.unique(answer.slice_logits[0])) == {-7.0, 4.0}
    assert set(np.unique(answer.slice_logits[1])) == {-7.0, -5.0, 4.0}


def test_a_large_box_needs_no_crop():
    truth, answer, eyes = box_question((5, 5, 395, 395))
    assert eyes.asked[0].embedded.image.crop is None and eyes.asked[0].multimask is True
    assert dice(answer.mask, truth) > 0.8 and not answer.refined


def test_a_fine_network_and_nothing_found_are_left_to_the_whole_slice():
    fine = SharpEyes()
    fine.model.preprocessing = SimpleNamespace(size=1024)
    assert box_question((71, 281, 109, 319), eyes=fine)[1] is None
    assert box_question((200, 100, 240, 140))[1] is None  # nothing bright in there


@given(st.data())
def test_the_crop_around_a_box_holds_it_and_lies_within_the_slice(data):
    shape = (data.draw(st.integers(1, 600)), data.draw(st.integers(1, 600)))
    spacing = (data.draw(st.floats(0.2, 6)), data.draw(st.floats(0.2, 6)))
    rows = sorted(data.draw(st.tuples(*[st.floats(0, shape[0] - 1)] * 2)))
    cols = sorted(data.draw(st.tuples(*[st.floats(0, shape[1] - 1)] * 2)))
    crop = crop_around_box(np.array([rows[0], cols[0], rows[1], cols[1]]), shape, spacing)
    assert crop.row >= 0 and crop.row + crop.rows <= shape[0] and crop.col >= 0 and crop.col + crop.cols <= shape[1]
    assert crop.row <= rows[0] + 0.5 and rows[1] - 0.5 <= crop.row + crop.rows - 1
    assert crop.col <= cols[0] + 0.5 and cols[1] - 0.5 <= crop.col + crop.cols - 1


# Bounds and crops


def test_the_object_is_what_was_clicked():
    mask = disc((100, 100), (20, 20), 5) | disc((100, 100), (70, 70), 15)
    clicks = SlicePrompts(np.array([[20.0, 20.0], [99.4, 0.0]]), np.array([1, 0]))
    assert object_bounds(mask, clicks) == (16, 16, 24, 24)
    none = SlicePrompts(np.array([[50.0, 50.0]]), np.array([0]))
    assert object_bounds(mask, none) == (56, 56, 84, 84)  # the largest
    assert object_bounds(np.zeros((9, 9), dtype=bool), none) is None


@given(st.data())
def test_a_crop_holds_the_object_with_a_margin_and_lies_within_the_slice(data):
    shape = (data.draw(st.integers(1, 600)), data.draw(st.integers(1, 600)))
    spacing = (data.draw(st.floats(0.2, 6)), data.draw(st.floats(0.2, 6)))
    rows = sorted(data.draw(st.tuples(*[st.integers(0, shape[0] - 1)] * 2)))
    cols = sorted(data.draw(st.tuples(*[st.integers(0, shape[1] - 1)] * 2)))
    crop = crop_around((rows[0], cols[0], rows[1], cols[1]), shape, spacing)
    assert crop.row >= 0 and crop.row + crop.rows <= shape[0] and crop.col >= 0 and crop.col + crop.cols <= shape[1]
    assert crop.row <= rows[0] and rows[1] < crop.row + crop.rows
    assert crop.col <= cols[0] and cols[1] < crop.col + crop.cols
    finer = 0 if spacing[0] <= spacing[1] else 1
    assert (crop.rows, crop.cols)[finer] >= min(MIN_CROP_PIXELS, shape[finer])


def test_a_slightly_different_mask_finds_the_same_crop_mostly():
    crops = {crop_around((100 + d, 200 - d, 130 + d, 228), (512, 512), (0.7, 0.7)) for d in range(-2, 3)}
    assert len(crops) <= 2
