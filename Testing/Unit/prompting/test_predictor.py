"""The predictor against the stock ``SamPredictor`` of segment_anything on the same weights, pixels and prompts."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.fast_attention import use_folded_attention
from SAMFinetuneLogic.models.torch_compat import import_segment_anything
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage

AS_IS = Window(0.0, 255.0, "as_is")

POINTS = {
    "none": (None, None),
    "one": ([[20, 31]], [1]),
    "several": ([[20, 31], [5.5, 40.25], [44, 3]], [1, 0, 1]),
}
BOXES = {"no box": None, "box": [8, 5, 37, 48]}
PROMPTS = [
    (points, box, mask, several)
    for points, box, mask, several in product(POINTS, BOXES, (False, True), (False, True))
    if points != "none" or box != "no box" or mask
]


def image_of(pixels: np.ndarray, spacing=(1.0, 1.0), window=AS_IS, index=0) -> SliceImage:
    return SliceImage(pixels, spacing, SliceIndex("k", index), window)


@cache
def some_pixels(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def stock_answer(sam, pixels, points, box, mask, several):
    """(slice logits, low resolution logits, predicted IoU), best predicted first; SAM's (x, y) from our (row, col)."""
    predictor = import_segment_anything().SamPredictor(sam)
    predictor.set_image(np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels)
    coordinates, labels = POINTS[points]
    on_slice, iou, low_res = predictor.predict(
        None if coordinates is None else np.array(coordinates, dtype=float)[:, ::-1],
        None if labels is None else np.array(labels),
        None if BOXES[box] is None else np.array(BOXES[box], dtype=float)[[1, 0, 3, 2]],
        mask,
        multimask_output=several,
        return_logits=True,
    )
    order = np.argsort(-iou, kind="stable")
    return on_slice[order], low_res[order], iou[order]


def our_answer(model, pixels, points, box, mask, several):
    predictor = SlicePredictor(model)
    coordinates, labels = POINTS[points]
    return predictor.predict(predictor.embed(image_of(pixels)), coordinates, labels, BOXES[box], mask, several)


def assert_same(ours, stock):
    np.testing.assert_allclose(ours.predicted_iou, stock[2], atol=1e-4)
    np.testing.assert_allclose(ours.logits, stock[1], atol=1e-3, rtol=0)
    np.testing.assert_allclose(ours.slice_logits, stock[0], atol=1e-3, rtol=0)
    np.testing.assert_array_equal(ours.masks, ours.slice_logits > 0)


@pytest.mark.parametrize("points, box, with_mask, several", PROMPTS)
def test_equal_to_the_stock_predictor(a_sam, a_model, points, box, with_mask, several):
    pixels = some_pixels((45, 60))
    mask = np.random.default_rng(2).normal(0, 5, (1, 16, 16)).astype(np.float32) if with_mask else None
    assert_same(
        our_answer(a_model, pixels, points, box, mask, several),
        stock_answer(a_sam, pixels, points, box, mask, several),
    )


@pytest.mark.parametrize("shape", [(64, 64), (33, 17), (200, 131), (1, 40), (50, 70, 3)])
def test_equal_to_the_stock_predictor_on_any_image(a_sam, a_model, shape):
    pixels = some_pixels(shape)
    arguments = ("one", "no box", None, True)
    assert_same(our_answer(a_model, pixels, *arguments), stock_answer(a_sam, pixels, *arguments))


@pytest.mark.slow
def test_equal_to_the_stock_predictor_on_vit_b_with_the_folded_attention(make_a_model):
    torch.manual_seed(0)
    sam = import_segment_anything().sam_model_registry["vit_b"]().eval()
    with torch.no_grad():
        for block in sam.image_encoder.blocks:
            block.attn.rel_pos_h.normal_(std=0.05)
            block.attn.rel_pos_w.normal_(std=0.05)
    pixels = some_pixels((120, 150))
    stock_predictor = import_segment_anything().SamPredictor(sam)
    stock_predictor.set_image(np.stack([pixels] * 3, axis=-1))
    cases = [("several", "no box", False), ("one", "no box", True), ("none", "box", False)]
    stock = []
    for points, box, several in cases:
        coordinates, labels = POINTS[points]
        on_slice, iou, low_res = stock_predictor.predict(
            None if coordinates is None else np.array(coordinates, dtype=float)[:, ::-1],
            None if labels is None else np.array(labels),
            None if BOXES[box] is None else np.array(BOXES[box], dtype=float)[[1, 0, 3, 2]],
            multimask_output=several,
            return_logits=True,
        )
        order = np.argsort(-iou, kind="stable")
        stock.append((on_slice[order], low_res[order], iou[order]))
    use_folded_attention(sam.image_encoder)
    predictor = SlicePredictor(make_a_model(sam))
    embedded = predictor.embed(image_of(pixels))
    for (points, box, several), expected in zip(cases, stock, strict=True):
        coordinates, labels = POINTS[points]
        assert_same(predictor.predict(embedded, coordinates, labels, BOXES[box], None, several), expected)


def test_the_window_and_the_spacing_reach_the_encoder(a_model):
    pixels = some_pixels((40, 40)).astype(np.int16) * 10 - 1000
    predictor = SlicePredictor(a_model)
    one = predictor.embed(image_of(pixels, window=Window(-1000, 1550, "a")))
    same = predictor.embed(image_of(some_pixels((40, 40))))
    torch.testing.assert_close(one.embedding, same.embedding)
    stretched = predictor.embed(image_of(pixels, spacing=(2.0, 1.0), window=Window(-1000, 1550, "a")))
    assert stretched.transform.content_shape == (64, 32)
    assert predictor.predict(stretched, [[20, 20]], [1]).masks.shape[1:] == (40, 40)


# Candidates


def test_a_lone_click_gives_three_candidates_best_predicted_first(a_model):
    answer = our_answer(a_model, some_pixels((45, 60)), "one", "no box", None, None)
    assert answer.count == 3 and answer.chosen == 0
    assert (np.diff(answer.predicted_iou) <= 0).all()
    seen = [answer.next(), answer.next().next(), answer.next().next().next()]
    assert [candidates.chosen for candidates in seen] == [1, 2, 0]
    np.testing.assert_array_equal(seen[0].mask, answer.masks[1])
    assert seen[1].score == answer.predicted_iou[2]


@pytest.mark.parametrize("points, box", [("several", "no box"), ("one", "box"), ("none", "box")])
def test_clear_prompts_give_one_mask(a_model, points, box):
    assert our_answer(a_model, some_pixels((45, 60)), points, box, None, None).count == 1


def test_a_click_on_an_earlier_mask_gives_one_mask(a_model):
    first = our_answer(a_model, some_pixels((45, 60)), "one", "no box", None, None)
    assert our_answer(a_model, some_pixels((45, 60)), "one", "no box", first.mask_logits, None).count == 1


def test_a_model_trained_for_one_mask_gives_one(a_sam, make_a_model):
    answer = our_answer(make_a_model(a_sam, multimask=False), some_pixels((45, 60)), "one", "no box", None, True)
    assert answer.count == 1


# What a model cannot do


def test_a_box_model_refuses_points_with_advice(a_box_model):
    with pytest.raises(ModelError, match="takes no points: draw a box"):
        our_answer(a_box_model, some_pixels((45, 60)), "one", "no box", None, None)


def test_a_box_model_uses_the_box_and_says_that_it_left_the_points_out(a_box_model):
    pixels = some_pixels((45, 60))
    both = our_answer(a_box_model, pixels, "one", "box", None, None)
    alone = our_answer(a_box_model, pixels, "none", "box", None, None)
    np.testing.assert_array_equal(both.logits, alone.logits)
    assert "only the box was used" in both.notices[0] and not alone.notices


def test_an_encoder_alone_is_refused(a_sam, make_a_model):
    with pytest.raises(ModelError, match="no mask decoder"):
        our_answer(make_a_model(a_sam, encoder_only=True), some_pixels((45, 60)), "one", "no box", None, None)


def test_an_earlier_mask_of_another_models_size_is_refused_with_advice(a_model):
    predictor = SlicePredictor(a_model)
    embedded = predictor.embed(image_of(some_pixels((50, 60))))
    own = predictor.predict(embedded, [[20, 31]], [1]).mask_logits
    for other in (own[::2, ::2], np.stack([own, own, own])):
        with pytest.raises(
            InputError, match=r"earlier mask has (3 x )?\d+ x \d+ values.*another model's, leave it out"
        ):
            predictor.predict(embedded, [[20, 31]], [1], mask_logits=other)
    assert predictor.predict(embedded, [[20, 31]], [1], mask_logits=own[None]).count == 1  # (1, h, w) is fine


def test_no_prompt_and_labels_that_do_not_fit_are_refused(a_model):
    predictor = SlicePredictor(a_model)
    embedded = predictor.embed(image_of(some_pixels((45, 60))))
    with pytest.raises(InputError, match="no prompt"):
        predictor.predict(embedded)
    with pytest.raises(InputError, match="one label for each point"):
        predictor.predict(embedded, [[1, 2]], [1, 0])


# The cache


def test_with_a_cache_each_slice_is_encoded_once_and_the_answer_is_the_same(a_model, monkeypatch):
    calls = []
    encode = a_model.encode
    monkeypatch.setattr(a_model, "encode", lambda batch: calls.append(1) or encode(batch))
    predictor = SlicePredictor(a_model, EmbeddingCache())
    pixels = some_pixels((45, 60))
    first = predictor.predict(predictor.embed(image_of(pixels)), [[20, 31]], [1])
    again = predictor.predict(predictor.embed(image_of(pixels.copy())), [[20, 31]], [1])
    assert len(calls) == 1
    np.testing.assert_array_equal(first.slice_logits, again.slice_logits)
    exact = SlicePredictor(a_model)
    expected = exact.predict(exact.embed(image_of(pixels)), [[20, 31]], [1])
    np.testing.assert_allclose(first.slice_logits, expected.slice_logits, atol=0.01)


def test_whatever_changes_the_embedding_changes_the_key(a_sam, make_a_model):
    from SAMFinetuneLogic.prompting.embedding_key import embedding_key
    from SAMFinetuneLogic.prompting.slice_image import Crop

    model, pixels = make_a_model(a_sam), some_pixels((45, 60))
    changed = pixels.copy()
    changed[3, 4] ^= 1
    images = [
        image_of(pixels),
        image_of(changed),
        image_of(pixels.astype(np.int16)),
        image_of(pixels.reshape(60, 45)),
        image_of(np.stack([pixels] * 3, axis=-1)),
        image_of(pixels, spacing=(1.0, 2.0)),
        image_of(pixels, window=Window(0.0, 254.0, "as_is")),
        image_of(pixels, index=1),
        SliceImage(pixels, (1.0, 1.0), SliceIndex("j", 0), AS_IS),
        image_of(pixels).cropped(Crop(0, 0, 45, 59)),
        image_of(pixels).cropped(Crop(0, 1, 45, 59)),
    ]
    keys = {embedding_key(image, model).digest for image in images}
    assert len(keys) == len(images)
    assert embedding_key(image_of(pixels[::1].copy()), model).digest in keys
    # The name of a window does not matter, nor does the decoder; the encoder does.
    assert embedding_key(image_of(pixels, window=Window(0.0, 255.0, "custom")), model).digest in keys
    with torch.no_grad():
        a_sam.mask_decoder.iou_token.weight.add_(1)
        assert embedding_key(image_of(pixels), model).digest in keys
        a_sam.mask_decoder.iou_token.weight.sub_(1)
        a_sam.image_encoder.pos_embed.add_(1)
        assert embedding_key(image_of(pixels), model).digest not in keys
        a_sam.image_encoder.pos_embed.sub_(1)


def test_a_model_that_says_so_answers_ambiguous_prompts_with_its_single_mask_output(a_sam, a_model, make_a_model):
    """Its three candidates follow, best predicted first."""
    image, point, label = image_of(some_pixels((60, 64))), np.array([[20, 25]]), np.array([1])

    def answer(model, **options):
        predictor = SlicePredictor(model)
        return predictor.predict(predictor.embed(image), point, label, **options)

    usual, single = answer(a_model), answer(a_model, multimask=False)
    led = answer(make_a_model(a_sam, single_mask_first=True))
    assert np.array_equal(led.logits[0], single.logits[0])
    assert np.array_equal(led.logits[1:], usual.logits)
    assert np.array_equal(led.predicted_iou[1:], usual.predicted_iou)
