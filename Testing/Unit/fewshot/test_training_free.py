import numpy as np
import pytest
from small_models import loaded

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.fewshot.application import apply_to_volume
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.training_free import (
    TrainingFreeModel,
    at_mask_size,
    fit_prototypes,
    predict_training_free,
    similarity_prompts,
)
from SAMFinetuneLogic.fewshot.views import plain_view
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.predictor import SlicePredictor


def test_similarity_becomes_a_box_and_points():
    similarity = np.full((40, 50), -3.0)
    similarity[10:21, 12:31] = 2.0
    similarity[30:32, 40:42] = 4.0  # smaller, although more alike at its peak
    similarity[10:14, 26:31] = -1.0
    prompts = similarity_prompts(similarity)
    assert prompts is not None
    assert prompts.box.tolist() == [10, 12, 20, 30]
    assert prompts.labels.tolist() == [1, 0]
    row, col = prompts.points[0]
    assert similarity[row, col] == 2.0
    row, col = prompts.points[1]
    assert similarity[row, col] == -1.0
    assert similarity_prompts(np.full((4, 4), -1.0)) is None


def test_one_labelled_slice_prompts_the_stock_decoder(a_collection, a_case, a_model, monkeypatch):
    volume, _ = a_case
    first = a_collection.without(a_collection.slices[:1] + a_collection.slices[2:])
    estimator = fit_prototypes(first, a_model)
    predictor = SlicePredictor(a_model)
    asked = []
    original = SlicePredictor.predict

    def recorded(self, embedded, points=None, labels=None, box=None, **rest):
        asked.append((points, labels, box))
        return original(self, embedded, points, labels, box, **rest)

    monkeypatch.setattr(SlicePredictor, "predict", recorded)
    embedded = predictor.embed(Plane.of(volume, "k", Window(0.0, 200.0, "full")).image(4))
    prediction = predict_training_free(estimator, (1, 4), predictor, embedded)
    assert prediction.probabilities.shape == (3, 40, 48)
    np.testing.assert_allclose(prediction.probabilities.sum(0), 1, atol=1e-5)
    assert asked and all(box is not None and len(points) == len(marks) for points, marks, box in asked)


def test_a_model_that_takes_boxes_alone_is_given_a_box(a_case, a_compact_model):
    """As MedSAM: without its points the answer is that of the box."""
    only_boxes = loaded(a_compact_model.network, prompts=("box",))
    collection = new_collection(*a_case, indices=[3], model=only_boxes, window=Window(0.0, 200.0, "full"))
    taught, predictor = TrainingFreeModel.of(collection, only_boxes), SlicePredictor(only_boxes)
    embedded = predictor.embed(Plane.of(a_case[0], "k", Window(0.0, 200.0, "full")).image(4))
    similarity = embedded.transform.logits_to_slice(at_mask_size(taught.estimator.logits(embedded.embedding[0])))

    answer = taught.predict(embedded)

    prompts = [similarity_prompts(plane) for plane in similarity.numpy()]
    assert all(each is not None for each in prompts)
    logits = [predictor.predict(embedded, box=each.box).slice_logits[0] for each in prompts]
    labels = np.array([0, 1, 4])[np.stack([np.zeros_like(logits[0]), *logits]).argmax(0)]
    np.testing.assert_array_equal(answer.labels, labels)


def test_another_model_is_refused(a_case, a_stock_model, a_compact_model):
    collection = new_collection(*a_case, indices=[3], model=a_stock_model)
    with pytest.raises(ModelError):
        fit_prototypes(collection, a_compact_model)


def test_logit_zero_is_where_dice_is_best_on_the_support(a_collection, a_model):
    estimator = fit_prototypes(a_collection, a_model)
    views = [plain_view(entry, (1, 4), a_model) for entry in a_collection.slices]
    logits = np.concatenate([estimator.logits(view.embedding).flatten(1).numpy() for view in views], 1)
    truth = np.concatenate([view.grids.coarse[1:].flatten(1).numpy() for view in views], 1)
    for n in range(2):

        def soft_dice(shift, n=n):
            found = logits[n] > shift
            return 2 * truth[n][found].sum() / (found.sum() + truth[n].sum())

        assert soft_dice(0) >= max(soft_dice(shift) for shift in np.linspace(-3, 3, 25)) - 1e-6


def test_a_collection_segments_a_volume_without_training(a_collection, a_case, a_model):
    volume, labels = a_case
    taught = TrainingFreeModel.of(a_collection, a_model)

    found = apply_to_volume(taught, volume, a_model, indices=[2, 4])

    assert found.labels.shape == labels.shape
    assert not np.delete(found.labels.voxels, [2, 4], axis=0).any()
    assert {entry.value for entry in found.slices} == {1, 4}
    empty = a_collection.without(a_collection.slices)
    with pytest.raises(InputError, match="Nothing is labelled"):
        TrainingFreeModel.of(empty, a_model)
