"""Further clicks on a coarse network, with a stand-in for the model that sees the image at its input's resolution."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sharp_eyes import SharpEyes, ask, dice, disc

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.prompting.closer_look import as_mask_prompts
from SAMFinetuneLogic.prompting.corrections import look_around_earlier
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice


class Led(SharpEyes):
    """Believes an earlier mask more than the image, as far as ``trust`` says."""

    def __init__(self, trust):
        super().__init__()
        self._trust = trust

    def predict(self, embedded, points, labels, box=None, mask_logits=None, multimask=None):
        found = super().predict(embedded, points, labels, box, mask_logits, multimask)
        if mask_logits is None or not self._trust:
            return found
        low_res = torch.as_tensor(mask_logits)[None]
        on_slice = embedded.transform.logits_to_slice(low_res).numpy()
        return replace(found, slice_logits=on_slice, logits=low_res.numpy())


def two_clicks(eyes, truth, feedback=None):
    image = SliceImage(255 * truth.astype(np.uint8), (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    middle = np.argwhere(truth).mean(axis=0)
    prompts = SlicePrompts(np.stack([middle, [5.0, 5.0]]), np.array([1, 0]))
    embedded = eyes.embed(image)
    return predict_slice(eyes, embedded, prompts, feedback)


def test_several_clicks_bring_a_coarse_network_closer():
    truth = disc((512, 512), (200, 250), 95)
    assert not ask(truth)[1].refined
    eyes = SharpEyes()
    answer = two_clicks(eyes, truth)
    crop = eyes.asked[-1].embedded.image.crop
    assert answer.refined and 1.5 * 189 <= crop.rows < 1.5 * 224 * 2**0.5 + 1
    assert dice(answer.mask, truth) > 0.97


def test_an_earlier_mask_that_contradicts_the_clicks_is_left_out():
    truth = disc((400, 400), (90, 300), 30)
    elsewhere = np.full((16, 16), -5.0, dtype=np.float32)
    elsewhere[10:, :4] = 5.0
    answer = two_clicks(Led(trust=True), truth, elsewhere)
    assert dice(answer.mask, truth) > 0.9
    # One that agrees with them is kept, though the image says otherwise.
    agrees = np.full((16, 16), -5.0, dtype=np.float32)
    agrees[2:5, 8:15] = 5.0
    kept = two_clicks(Led(trust=True), truth, agrees)
    assert 0.2 < dice(kept.mask, truth) < 0.9


def test_where_clicks_leave_nothing_the_crop_is_laid_around_what_was_found_before():
    # Ten pixels wide: nothing on the whole slice, whose 512 pixels become 16.
    truth = disc((512, 512), (110, 112), 5)
    assert not ask(truth)[1].mask.any()
    before = np.full((16, 16), -5.0, dtype=np.float32)
    before[3, 3] = 5.0
    answer = two_clicks(SharpEyes(), truth, before)
    assert answer.refined and dice(answer.mask, truth) > 0.9
    assert not two_clicks(SharpEyes(), truth).mask.any()


def low_resolution(mask):
    """Logits of a mask on a slice of 512 x 512 pixels as the stand-in would have given them."""
    means = F.adaptive_avg_pool2d(torch.as_tensor(mask, dtype=torch.float32)[None], (16, 16))[0]
    return (10 * (means - 0.3)).numpy()


def test_a_further_click_looks_at_nothing_but_what_was_found_before():
    truth = disc((512, 512), (200, 250), 60)
    eyes = SharpEyes()
    answer = two_clicks(eyes, truth, low_resolution(truth))
    (question,) = eyes.asked
    crop = question.embedded.image.crop
    assert crop is not None and crop.row < 140 and crop.row + crop.rows > 260 and crop.rows >= 2 * 120
    np.testing.assert_allclose(question.points, [[200 - crop.row, 250 - crop.col]])  # (5, 5) lies outside
    given = question.embedded.transform.logits_to_slice(torch.as_tensor(question.mask)).numpy() > 0
    assert dice(given, truth[crop.slices]) > 0.85
    assert question.multimask is False
    assert answer.refined and dice(answer.mask, truth) > 0.95
    assert answer.masks.shape == (1, 512, 512) and answer.mask_logits.shape == (16, 16)


def filled_left_of(logits):
    """With what lies left of the middle filled in, but for the crop's margin."""
    rows, cols = np.indices(logits.shape[-2:])
    margin = np.minimum.reduce([rows, cols, rows[::-1], cols[:, ::-1]]) < 3
    left = torch.as_tensor((cols < logits.shape[-1] // 2) & ~margin)
    return torch.where(left, 5.0, logits)


@pytest.mark.parametrize(
    "second",
    [lambda logits: torch.full_like(logits, -5.0), lambda logits: torch.full_like(logits, 5.0), filled_left_of],
    ids=["empty", "everything", "clicks contradicted"],
)
def test_the_whole_slice_is_asked_where_that_look_does_not_serve(second):
    truth = disc((512, 512), (200, 250), 60)
    eyes = SharpEyes(second)
    image = SliceImage(255 * truth.astype(np.uint8), (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    clicks = np.array([[200.0, 250.0], [200.0, 170.0], [230.0, 170.0]])
    prompts = SlicePrompts(clicks, np.array([1, 0, 0]))
    embedded, earlier = eyes.embed(image), low_resolution(truth)
    look = look_around_earlier(eyes, embedded, prompts, earlier)
    assert (look is not None) == (second is filled_left_of)
    eyes.asked.clear()
    predict_slice(eyes, embedded, prompts, earlier)
    assert eyes.asked[0].embedded.image.crop is not None and eyes.asked[1].embedded.image.crop is None


def test_an_answer_that_fills_a_crop_with_one_inner_side_does_not_serve():
    truth = np.zeros((60, 512), dtype=bool)
    truth[15:45, :40] = True
    eyes = SharpEyes(lambda logits: torch.full_like(logits, 5.0))
    image = SliceImage(255 * truth.astype(np.uint8), (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    prompts = SlicePrompts(np.array([[30.0, 20.0], [30.0, 300.0]]), np.array([1, 0]))
    embedded = eyes.embed(image)
    earlier = as_mask_prompts(eyes, embedded, np.where(truth, 5.0, -5.0)[None].astype(np.float32))[0]
    assert look_around_earlier(eyes, embedded, prompts, earlier) is None
    crop = eyes.asked[0].embedded.image.crop
    assert (crop.row, crop.rows, crop.col) == (0, 60, 0) and crop.cols < 512


def test_what_is_smaller_than_a_cell_of_the_mask_prompt_is_not_lost():
    eyes = SharpEyes()  # cells of 32 pixels
    image = SliceImage(np.zeros((512, 512), np.uint8), (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    embedded = eyes.embed(image)
    logits = np.stack([np.where(disc((512, 512), (200, 250), 5), 5.0, -5.0), np.full((512, 512), -5.0)])
    prompts = as_mask_prompts(eyes, embedded, logits.astype(np.float32))
    assert np.argwhere(prompts[0] > 0).tolist() == [[200 // 32, 250 // 32]]
    assert not (prompts[1] > 0).any()


def test_an_earlier_mask_of_most_of_the_slice_is_looked_at_on_the_slice():
    truth = disc((512, 512), (256, 256), 230)
    eyes = SharpEyes()
    two_clicks(eyes, truth, low_resolution(truth))
    assert [question.embedded.image.crop for question in eyes.asked] == [None]


def test_scribbles_are_drawn_on_the_whole_slice():
    truth = disc((512, 512), (200, 250), 60)
    eyes = SharpEyes()
    image = SliceImage(255 * truth.astype(np.uint8), (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 255.0, "as_is"))
    strokes = np.zeros(truth.shape, dtype=np.float32)
    strokes[190:210, 240:260] = 5.0
    prompts = SlicePrompts(np.array([[200.0, 250.0]]), np.array([1]), strokes=strokes)
    predict_slice(eyes, eyes.embed(image), prompts, low_resolution(truth))
    assert eyes.asked[0].embedded.image.crop is None


class LedAstray(SharpEyes):
    """At first finds a few pixels around the first click, later what is bright."""

    def predict(self, embedded, points, labels, box=None, mask_logits=None, multimask=None):
        found = super().predict(embedded, points, labels, box, mask_logits, multimask)
        if len(self.asked) > 1:
            return found
        near = disc(embedded.image.shape, points[0], 8)
        return replace(found, slice_logits=np.where(near, 5.0, -5.0)[None].astype(np.float32))


def test_a_second_click_is_also_asked_by_itself_where_the_answer_changes_much():
    truth = disc((512, 512), (200, 250), 60)
    eyes = LedAstray()
    answer = two_clicks(eyes, truth, low_resolution(truth))
    assert dice(answer.mask, truth) > 0.95
    assert eyes.asked[0].mask is not None and any(question.mask is None for question in eyes.asked)


def test_a_second_click_that_changes_little_costs_one_question():
    truth = disc((512, 512), (200, 250), 60)
    eyes = SharpEyes()
    two_clicks(eyes, truth, low_resolution(truth))
    assert len(eyes.asked) == 1


CLICKS = SlicePrompts(
    np.array([[20.0, 20.0], [60.0, 70.0], [95.0, 90.0], [75.0, 90.0], [70.0, 60.0], [120.0, 120.0]]),
    np.array([0, 1, 1, 1, 1, 0]),
)
BOX = np.array([[36.0, 46.0, 104.0, 114.0]])


@pytest.fixture(scope="module")
def default_predictor():
    return SlicePredictor(load_model("samfinetune_default", device="cpu"))


@pytest.fixture(scope="module")
def organ(default_predictor):
    """A disc with a brighter one in it, encoded."""
    rng = np.random.default_rng(0)
    gray = 90 + 60 * disc((160, 160), (70, 80), 34) + 50 * disc((160, 160), (75, 90), 9) + rng.normal(0, 6, (160, 160))
    window = Window(40.0, 260.0, "as_is")
    return default_predictor.embed(SliceImage(gray.astype(np.float32), (1.0, 1.0), SliceIndex("k", 0), window))


@pytest.mark.parametrize(
    ("count", "box", "turns"),
    [
        (4, None, ([1], [1, 0], [1, 0, 2], [1, 0, 2, 3])),  # a positive one first
        (6, None, ([1], [1, 0], [1, 0, 2], [1, 0, 2, 3, 4, 5])),  # only the first few singly
        (2, BOX, ([], [0], [0, 1])),  # what the box means first
    ],
)
def test_clicks_that_come_at_once_are_answered_as_one_after_another(default_predictor, organ, count, box, turns):
    boxes = np.zeros((0, 4)) if box is None else box
    prompts = SlicePrompts(CLICKS.points[:count], CLICKS.labels[:count], boxes)
    at_once = predict_slice(default_predictor, organ, prompts)
    answer, feedback = None, None
    for taken in turns:
        part = SlicePrompts(CLICKS.points[taken], CLICKS.labels[taken], boxes)
        answer = predict_slice(default_predictor, organ, part, feedback)
        feedback = answer.mask_logits
    np.testing.assert_array_equal(at_once.mask, answer.mask)
    np.testing.assert_array_equal(at_once.mask_logits, answer.mask_logits)
    assert dice(at_once.mask, disc((160, 160), (70, 80), 34)) > 0.9


def test_a_fine_input_is_asked_about_all_clicks_at_once():
    truth = disc((512, 512), (200, 250), 100)
    eyes = SharpEyes()
    eyes.model.preprocessing.size = 1024
    two_clicks(eyes, truth)
    assert len(eyes.asked) == 1 and len(eyes.asked[0].points) == 2
