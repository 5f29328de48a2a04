import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from SAMFinetuneLogic.fewshot.application import plane_for
from SAMFinetuneLogic.fewshot.collection_files import load_collection, save_collection
from SAMFinetuneLogic.fewshot.dense import fit_estimator
from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.guesses import cross_fitted_guesses, guess_on
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.mirror import MirroredEmbedding, encode_mirrored, mirror_weights, turned_back
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.views import encode_views
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor

CPU = torch.device("cpu")
WINDOW = Window(0.0, 200.0, "full")


@pytest.fixture(scope="module")
def settings(quick):
    return replace(quick, purpose="other_images", mirror="always", augmentations=2, steps=3)


def test_turning_back_mirrors_about_the_middle_of_the_slice():
    plane = np.random.default_rng(0).random((2, 3, 6)).astype(np.float32)
    whole = turned_back(torch.from_numpy(plane), 6.0)
    np.testing.assert_array_equal(whole.numpy(), plane[..., ::-1])
    part = turned_back(torch.from_numpy(plane), 4.0)
    np.testing.assert_array_equal(part.numpy()[..., :4], plane[..., 3::-1])
    # Cell centres lie at c + 0.5; those of a ramp, mirrored about 4.6 / 2, are linear again.
    ramp = torch.arange(6.0).expand(1, 1, 6) + 0.5
    np.testing.assert_allclose(turned_back(ramp, 4.6)[0, 0, :4], 4.6 - ramp[0, 0, :4], atol=1e-5)


def test_a_mirrored_embedding_is_that_of_the_mirrored_pixels(a_model):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 24)).astype(np.uint8)
    transform = SliceTransform(pixels.shape, (1.0, 1.0), a_model.preprocessing)
    expected = a_model.encode(transform.prepare(np.fliplr(pixels).copy())[None])[0]
    for cache in (None, EmbeddingCache()):
        found = encode_mirrored(SlicePredictor(a_model, cache), pixels, (1.0, 1.0), SliceIndex("k", 0))
        assert torch.equal(found.embedding, expected.to(torch.float16))
        assert found.width == pytest.approx(expected.shape[-1] * 24 / 40, abs=0.5)


def test_the_guess_on_a_mirrored_slice_is_the_mirrored_guess(a_model):
    """Whatever the encoder does to a mirrored slice: both of its views are asked either way."""
    size = a_model.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 255, (size, size)).astype(np.uint8)
    predictor, index = SlicePredictor(a_model), SliceIndex("k", 0)
    turned = encode_mirrored(predictor, pixels, (1.0, 1.0), index)
    plain = encode_mirrored(predictor, pixels[:, ::-1], (1.0, 1.0), index)
    fractions = torch.rand(3, *plain.embedding.shape[1:], generator=torch.Generator().manual_seed(0))
    estimator = fit_estimator("classifier", [plain.embedding], [fractions / fractions.sum(0)])
    one = guess_on(estimator, plain.embedding.float(), turned, (0.5, 0.5))
    other = guess_on(estimator, turned.embedding.float(), plain, (0.5, 0.5))
    torch.testing.assert_close(other, one.flip(-1))
    alone = guess_on(estimator, plain.embedding.float(), turned, (0.5, 0.0))
    torch.testing.assert_close(alone[0], one[0])
    torch.testing.assert_close(alone[1], estimator.logits(plain.embedding.float())[1])


def test_a_class_that_is_told_by_its_side_hardly_counts_in_the_mirror():
    """A ball in the middle, and two kidneys: the mirror shows each in the other's place."""
    owner = np.zeros((8, 12), dtype=int)
    owner[2:6, 5:7], owner[3:6, 1:3], owner[3:6, 9:11] = 1, 2, 3
    fractions = torch.from_numpy(np.stack([owner == n for n in range(5)]).astype(np.float32))
    seen = torch.where(fractions[1:] > 0, 4.0, -4.0)
    swapped = seen[[0, 2, 1, 3]]
    assert mirror_weights([seen], [seen], [fractions]) == (0.5, 0.5, 0.5, 0.0)  # the fourth is found nowhere
    assert mirror_weights([seen], [swapped], [fractions]) == (0.5, 0.0, 0.0, 0.0)
    # Half of the ball is missed: its Dice is 2 * 4 / (4 + 8); never does the mirror count more than the slice.
    half = torch.where((torch.arange(12) == 5) & (fractions[1:] > 0), 4.0, -4.0)
    assert mirror_weights([seen], [half], [fractions])[0] == pytest.approx((2 / 3) / (1 + 2 / 3), abs=1e-4)
    assert mirror_weights([half], [seen], [fractions])[0] == 0.5
    # What lies in the padding does not count.
    padded = torch.nn.functional.pad(fractions, (0, 4))
    noise = torch.nn.functional.pad(seen, (0, 4), value=4.0)
    assert mirror_weights([noise], [noise], [padded]) == (0.5, 0.5, 0.5, 0.0)


def test_only_other_images_and_the_default_model_are_looked_at_twice():
    asked = FitSettings(purpose="other_images")
    assert asked.looks_twice("compact") and not asked.looks_twice("vit_b")
    assert replace(asked, mirror="always").looks_twice("vit_b")
    assert not replace(asked, mirror="never").looks_twice("compact")
    assert not replace(asked, dense="none").looks_twice("compact")
    assert not FitSettings(mirror="always").looks_twice("compact")


def test_the_labelled_slices_weigh_and_are_not_learned_from_in_the_mirror(a_collection, a_model, settings):
    views = encode_views(a_collection, a_model, settings)
    assert [[view.mirrored is not None for view in entry] for entry in views] == [[True, False, False]] * 3
    guesses = cross_fitted_guesses(views, settings, CPU)
    never = replace(settings, mirror="never")
    plain = cross_fitted_guesses(encode_views(a_collection, a_model, never), never, CPU)
    assert len(guesses.mirror) == 2 and plain.mirror == ()
    for one, other in zip(guesses.views, plain.views, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_answer_asks_the_mirror_and_is_kept_in_the_file(a_case, a_model, settings, tmp_path):
    volume, labels = a_case
    collection = new_collection(volume, labels, indices=[3], model=a_model, window=WINDOW)
    fitted = replace(fit(collection, a_model, settings, cache=EmbeddingCache()), mirror=(0.25, 0.0))
    save_collection(tmp_path / "c.safetensors", collection, fitted)
    again = load_collection(tmp_path / "c.safetensors").fitted(a_model)
    assert again.mirror == (0.25, 0.0)

    image = plane_for(fitted, volume).image(2)
    embedded = SlicePredictor(a_model).embed(image)
    shown = again.predict(embedded).probabilities
    np.testing.assert_array_equal(shown, fitted.predict(embedded).probabilities)

    transform = SliceTransform(image.shape, image.spacing, a_model.preprocessing)
    mirrored = a_model.encode(transform.prepare(image.to_uint8()[:, ::-1].copy())[None])[0].to(torch.float16)
    width = mirrored.shape[-1] * transform.content_shape[1] / a_model.preprocessing.size
    guess = fitted.estimator.logits(embedded.embedding[0])
    second = turned_back(fitted.estimator.logits(mirrored.float()), width)
    guess = torch.stack([0.75 * guess[0] + 0.25 * second[0], guess[1]])
    targets = fitted.targets
    logits = fitted.decoder(embedded.embedding, targets.vectors, targets.kinds, guess[None])[0]
    expected = torch.softmax(torch.cat([torch.zeros(1, *image.shape), transform.logits_to_slice(logits)]), 0)
    np.testing.assert_allclose(shown, expected.numpy(), atol=1e-5)
    without = replace(fitted, mirror=()).predict(embedded).probabilities
    assert not np.array_equal(shown, without)


def test_a_file_from_before_mirrors_answers_as_it_did(a_case, a_model, settings, tmp_path):
    collection = new_collection(*a_case, indices=[3], model=a_model, window=WINDOW)
    fitted = fit(collection, a_model, replace(settings, mirror="never"))
    path = tmp_path / "c.safetensors"
    save_collection(path, collection, fitted)
    with safe_open(str(path), "pt") as stream:
        content = json.loads(stream.metadata()["samfinetune_fewshot"])
    del content["fit"]["mirror"], content["fit"]["settings"]["mirror"]
    tensors = load_file(path)
    save_file(tensors, path, {"samfinetune_fewshot": json.dumps(content)})
    again = load_collection(path).fitted(a_model)
    embedded = SlicePredictor(a_model).embed(plane_for(fitted, a_case[0]).image(2))
    np.testing.assert_array_equal(again.predict(embedded).probabilities, fitted.predict(embedded).probabilities)


def test_a_mirrored_embedding_lies_as_the_slice_does():
    """An estimator that reads one channel: its map comes back turned."""
    features = torch.zeros(2, 4, 4)
    features[0, :, 0] = 1.0
    fractions = torch.stack([1 - features[0], features[0]])
    estimator = fit_estimator("classifier", [features], [fractions])
    logits = MirroredEmbedding(features.half(), 4.0).logits(estimator, CPU)[0]
    assert (logits[:, 3] > 0).all() and (logits[:, :3] < 0).all()
