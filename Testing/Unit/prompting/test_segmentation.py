"""From prompts to a label map on the image's grid."""

import numpy as np
import pytest
import torch

from SAMFinetuneLogic.errors import Cancelled, GeometryError, InputError, ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window, choose_window
from SAMFinetuneLogic.prompting import segmentation
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.placement import prompts_on_slice
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    SegmentPrompts,
)
from SAMFinetuneLogic.prompting.segmentation import segment_volume
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice


def at(volume, *ijk):
    return tuple(volume.to_ras(np.array([ijk], dtype=float))[0].tolist())


def point(volume, *ijk, positive=True):
    return PointPrompt(at(volume, *ijk), positive)


def box(volume, low, high):
    return BoxPrompt((at(volume, *low), at(volume, *high)))


def segment(value, *prompts, name=None):
    return SegmentPrompts(Segment(value, name or f"s{value}", (1.0, 0.0, 0.0)), prompts)


@pytest.fixture
def paint(monkeypatch):
    """Replaces the model: each box is filled and each positive point becomes a 3 x 3 square, with a given logit."""
    strengths = []

    def predict(predictor, embedded, prompts, feedback=None, *, refine_small=True):
        rows, cols = embedded.image.shape
        logits = np.full((rows, cols), -5.0, dtype=np.float32)
        strength = strengths.pop(0) if strengths else 1.0
        for r0, c0, r1, c1 in prompts.boxes.astype(int):
            logits[r0 : r1 + 1, c0 : c1 + 1] = strength
        for (row, col), label in zip(np.rint(prompts.points).astype(int), prompts.labels, strict=True):
            logits[row - 1 : row + 2, col - 1 : col + 2] = strength if label else -5.0
        return Candidates(logits[None], np.zeros((1, 4, 4)), np.array([0.8]))

    monkeypatch.setattr(segmentation, "predict_slice", predict)
    return strengths


def test_points_segment_their_slices(a_volume, a_model, paint):
    result = segment_volume(a_volume, [segment(1, point(a_volume, 18, 25, 3), point(a_volume, 10, 9, 5))], a_model)
    expected = np.zeros(a_volume.shape, dtype=np.uint8)
    expected[3, 24:27, 17:20] = expected[5, 8:11, 9:12] = 1
    np.testing.assert_array_equal(result.labels.voxels, expected)
    np.testing.assert_array_equal(result.labels.ijk_to_ras, a_volume.ijk_to_ras)
    assert result.labels.voxels.dtype == np.uint8
    assert result.axis == "k" and result.slices == (3, 5) and result.notices == ()
    assert [(score.value, score.index, score.pixels) for score in result.scores] == [(1, 3, 9), (1, 5, 9)]
    assert result.window == choose_window(a_volume)


@pytest.mark.parametrize(
    "low, high, axis, slices",
    [
        ((5, 6, 2), (20, 30, 2), "k", (2,)),
        ((5, 6, 2), (20, 6, 4), "j", (6,)),
        ((5, 6, 2), (5, 30, 4), "i", (5,)),
        ((5, 6, 2), (20, 30, 4), "k", (2, 3, 4)),
    ],
)
def test_a_box_segments_every_slice_that_it_spans(a_volume, a_model, paint, low, high, axis, slices):
    result = segment_volume(a_volume, [segment(1, box(a_volume, low, high))], a_model)
    expected = np.zeros(a_volume.shape, dtype=np.uint8)
    expected[tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))] = 1
    np.testing.assert_array_equal(result.labels.voxels, expected)
    assert (result.axis, result.slices) == (axis, slices)


@pytest.mark.parametrize("name, axis", [("j", "j"), ("axial", "k"), ("Sagittal", "i"), ("coronal", "j")])
def test_the_axis_can_be_chosen_by_name(a_volume, a_model, paint, name, axis):
    result = segment_volume(a_volume, [segment(1, point(a_volume, 18, 25, 3))], a_model, axis=name)
    assert result.axis == axis and (result.labels.voxels == 1).sum() == 9
    assert result.labels.voxels[3, 25, 18] == 1


@pytest.mark.parametrize("logits, winner", [((1.0, 2.0), 2), ((2.0, 1.0), 7), ((1.0, 1.0), 7)])
def test_a_voxel_goes_to_the_higher_logit_and_else_to_the_first(a_volume, a_model, paint, logits, winner):
    paint.extend(logits)
    prompts = [segment(7, box(a_volume, (5, 6, 2), (20, 30, 2))), segment(2, box(a_volume, (15, 6, 2), (30, 30, 2)))]
    voxels = segment_volume(a_volume, prompts, a_model).labels.voxels
    assert (voxels[2, 6:31, 5:15] == 7).all() and (voxels[2, 6:31, 21:31] == 2).all()
    assert (voxels[2, 6:31, 15:21] == winner).all()


def test_high_label_values_get_more_bits(a_volume, a_model, paint):
    labels = segment_volume(a_volume, [segment(300, point(a_volume, 18, 25, 3))], a_model).labels
    assert labels.voxels.dtype == np.uint16 and labels.mask(300).sum() == 9


def test_notices_and_progress(a_volume, a_model, paint):
    paint.extend([-1.0, 1.0])
    seen = []
    prompts = [
        segment(1, point(a_volume, 18, 25, 3), point(a_volume, 18, 25, 1), name="cyst"),
        segment(2, point(a_volume, 9, 9, 1), point(a_volume, 9, 9, 0, positive=False)),
    ]
    result = segment_volume(a_volume, prompts, a_model, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert any("Nothing was found for cyst on slice k=1" in notice for notice in result.notices)
    assert any("Slice k=0 has only negative points for s2" in notice for notice in result.notices)


def test_it_stops_when_asked(a_volume, a_model, paint):
    asked = iter([False, True])
    with pytest.raises(Cancelled):
        segment_volume(
            a_volume, [segment(1, box(a_volume, (5, 6, 0), (20, 30, 4)))], a_model, cancelled=lambda: next(asked)
        )


def test_bad_input_is_refused_before_the_model_is_asked(a_volume, a_model, monkeypatch):
    monkeypatch.setattr(a_model, "encode", lambda batch: pytest.fail("encoded"))
    good = point(a_volume, 18, 25, 3)
    mask = MaskPrompt.from_mask(SliceIndex("i", 3), np.ones(a_volume.slice_shape("i")))
    cases = [
        ([], InputError, "no prompts"),
        ([segment(1)], InputError, "s1 has no prompts"),
        ([segment(1, point(a_volume, 18, 25, 3, positive=False))], InputError, "only negative points"),
        ([segment(1, good), segment(1, good)], InputError, "same label value"),
        ([segment(1, good), segment(2, PointPrompt((999, 0, 0)))], GeometryError, "outside of the volume"),
        (
            [segment(1, box(a_volume, (1, 1, 2), (9, 9, 2)), box(a_volume, (1, 3, 1), (9, 3, 4)))],
            InputError,
            "different axes",
        ),
        ([segment(1, good), segment(2, mask, name="m")], InputError, "s1 has no prompts along|m has"),
    ]
    for prompts, error, says in cases[:-1]:
        with pytest.raises(error, match=says):
            segment_volume(a_volume, prompts, a_model)
    with pytest.raises(InputError, match="Segment m has no prompts along axis k"):
        segment_volume(a_volume, cases[-1][0], a_model, axis="k")
    with pytest.raises(InputError, match="Unknown axis"):
        segment_volume(a_volume, [segment(1, good)], a_model, axis="oblique")
    with pytest.raises(InputError, match="Unknown window"):
        segment_volume(a_volume, [segment(1, good)], a_model, window="dark")


# With a real network


def test_the_answer_is_the_predictors_on_that_slice(a_volume, a_model):
    cache, window = EmbeddingCache(), Window(0.0, 200.0, "custom")
    click = point(a_volume, 18, 25, 3)
    prompts = [segment(1, click)]
    result = segment_volume(a_volume, prompts, a_model, window=window, cache=cache, refine_small=False)
    predictor = SlicePredictor(a_model, cache)
    embedded = predictor.embed(SliceImage.of(a_volume, SliceIndex("k", 3), window))
    expected = predictor.predict(embedded, np.array([[25, 18]]), np.array([1]))
    np.testing.assert_array_equal(result.labels.voxels[3], expected.masks[0])
    assert result.scores[0].predicted_iou == pytest.approx(float(expected.predicted_iou[0]))
    assert len(cache) == 1


@pytest.mark.parametrize("axis", ["i", "j", "k"])
def test_every_kind_of_prompt_on_every_axis(a_volume, a_model, axis):
    mask = np.zeros(a_volume.slice_shape(axis), dtype=bool)
    mask[1:4, 10:20] = True
    index = {"i": 18, "j": 25, "k": 3}[axis]
    prompts = [
        segment(1, point(a_volume, 18, 25, 3), point(a_volume, 18, 25, 2, positive=False)),
        segment(2, box(a_volume, (16, 23, 2), (20, 27, 4))),
        segment(3, ScribblePrompt((at(a_volume, 18, 25, 3), at(a_volume, 18, 25, 5)))),
        segment(4, MaskPrompt.from_mask(SliceIndex(axis, index), mask)),
        segment(
            5, box(a_volume, (16, 23, 2), (20, 27, 4)), box(a_volume, (3, 3, 3), (9, 9, 3)), point(a_volume, 30, 40, 3)
        ),
    ]
    result = segment_volume(a_volume, prompts, a_model, axis=axis)
    assert result.labels.shape == a_volume.shape
    assert {score.value for score in result.scores} == {1, 2, 3, 4, 5}


def test_a_colour_image(a_model):
    image = Volume(np.random.default_rng(0).integers(0, 256, (1, 30, 40, 3), dtype=np.uint8), np.diag([-1, -1, 1, 1]))
    result = segment_volume(image, [segment(1, point(image, 20, 15, 0))], a_model)
    assert result.labels.shape == (1, 30, 40)


def test_a_box_model(a_volume, a_box_model):
    segment_volume(a_volume, [segment(1, box(a_volume, (5, 6, 2), (20, 30, 2)))], a_box_model)
    with pytest.raises(ModelError, match="draw a box"):
        segment_volume(a_volume, [segment(1, point(a_volume, 18, 25, 3))], a_box_model)
    both = segment(1, box(a_volume, (5, 6, 2), (20, 30, 2)), point(a_volume, 18, 25, 2))
    assert "only the box was used" in segment_volume(a_volume, [both], a_box_model).notices[0]


def test_several_boxes_are_parts_of_one_structure(a_volume, a_model):
    predictor = SlicePredictor(a_model)
    embedded = predictor.embed(SliceImage.of(a_volume, SliceIndex("k", 3), choose_window(a_volume)))
    one, two = box(a_volume, (3, 3, 3), (12, 14, 3)), box(a_volume, (20, 20, 3), (35, 40, 3))
    inside, lone, negative = (
        point(a_volume, 5, 5, 3),
        point(a_volume, 37, 3, 3),
        point(a_volume, 8, 8, 3, positive=False),
    )

    def ask(*prompts):
        drawn = prompts_on_slice(a_volume, prompts, SliceIndex("k", 3))
        return predict_slice(predictor, embedded, drawn, refine_small=False)

    together = ask(one, two, inside, lone, negative)
    parts = [ask(one, inside, negative), ask(two, negative), ask(lone, negative)]
    np.testing.assert_array_equal(together.mask, parts[0].mask | parts[1].mask | parts[2].mask)
    assert together.score == min(part.score for part in parts)


def test_scribbles_are_points_and_a_mask_prompt(a_volume, a_model, monkeypatch):
    predictor = SlicePredictor(a_model)
    embedded = predictor.embed(SliceImage.of(a_volume, SliceIndex("k", 3), choose_window(a_volume)))
    scribble = ScribblePrompt((at(a_volume, 10, 20, 3), at(a_volume, 28, 30, 3)))
    drawn = prompts_on_slice(a_volume, [scribble], SliceIndex("k", 3))
    asked = {}
    predict = predictor.predict
    monkeypatch.setattr(
        predictor, "predict", lambda e, p, lab, b, m: asked.update(points=p, mask=m) or predict(e, p, lab, b, m)
    )
    assert predict_slice(predictor, embedded, drawn, refine_small=False).count == 1
    assert len(asked["points"]) == 4 and asked["mask"].shape == (16, 16)
    on_slice = embedded.transform.logits_to_slice(torch.as_tensor(asked["mask"])).numpy()
    assert on_slice[25, 19] > 1 and abs(on_slice[5, 35]) < 0.1  # undecided where nothing was drawn
    predict_slice(predictor, embedded, drawn, np.full((16, 16), -3.0), refine_small=False)
    on_slice = embedded.transform.logits_to_slice(torch.as_tensor(asked["mask"])).numpy()
    assert on_slice[25, 19] > -2 and on_slice[5, 35] == pytest.approx(-3, abs=0.1)  # drawn over the earlier mask


def test_an_earlier_mask_of_another_model_is_left_out(a_volume, a_model):
    """As after changing the model between two prompts: the next answer comes of the prompts alone."""
    predictor = SlicePredictor(a_model)
    embedded = predictor.embed(SliceImage.of(a_volume, SliceIndex("k", 3), choose_window(a_volume)))
    placed = prompts_on_slice(a_volume, [box(a_volume, (12, 15, 3), (28, 35, 3))], SliceIndex("k", 3))
    own = predict_slice(predictor, embedded, placed)
    rows, cols = a_model.mask_size
    foreign = np.full((2 * rows, 2 * cols), 5.0, dtype=np.float32)
    np.testing.assert_array_equal(predict_slice(predictor, embedded, placed, foreign).slice_logits, own.slice_logits)
    fitting = predict_slice(predictor, embedded, placed, foreign[:rows, :cols])
    assert (fitting.slice_logits != own.slice_logits).any()
    negative = prompts_on_slice(a_volume, [point(a_volume, 5, 5, 3, positive=False)], SliceIndex("k", 3))
    with pytest.raises(InputError, match="Negative points alone"):
        predict_slice(predictor, embedded, negative, foreign)
