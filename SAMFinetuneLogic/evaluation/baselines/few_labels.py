"""What labelled slices of one image say about another with the same embeddings, without training a decoder.

Each function gives what segments a slice of the second image: a function from its embedding to class probabilities.
"""

from collections.abc import Callable

import torch

from SAMFinetuneLogic.fewshot.collection import SupportCollection
from SAMFinetuneLogic.fewshot.dense import DenseEstimator, fit_estimator
from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
from SAMFinetuneLogic.fewshot.objective import class_probabilities
from SAMFinetuneLogic.fewshot.training_free import at_mask_size, fit_prototypes, predict_training_free
from SAMFinetuneLogic.fewshot.views import plain_view
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor

SliceAnswer = Callable[[EmbeddedSlice], SlicePrediction]


def prototypes(collection: SupportCollection, predictor: SlicePredictor) -> SliceAnswer:
    """Similarity to prototypes, turned into points and a box for the stock decoder: the product without training."""
    estimator = fit_prototypes(collection, predictor.model)
    return lambda embedded: predict_training_free(estimator, _values(collection), predictor, embedded)


def logistic_regression(collection: SupportCollection, predictor: SlicePredictor) -> SliceAnswer:
    """Multinomial logistic regression on the cells of the embedding, and nothing else."""
    estimator = _classifier(collection, predictor.model)

    def answer(embedded: EmbeddedSlice) -> SlicePrediction:
        with torch.inference_mode():
            logits = embedded.transform.logits_to_slice(at_mask_size(estimator.logits(embedded.embedding[0])))
            probabilities = class_probabilities(logits, "softmax", 0)
        return SlicePrediction(probabilities.cpu().numpy(), _values(collection))

    return answer


def prompted_regression(collection: SupportCollection, predictor: SlicePredictor) -> SliceAnswer:
    """The same regression, turned into points and a box for the stock decoder (after Wu et al. 2023)."""
    estimator = _classifier(collection, predictor.model)
    return lambda embedded: predict_training_free(estimator, _values(collection), predictor, embedded)


def _classifier(collection: SupportCollection, model: LoadedModel) -> DenseEstimator:
    views = [plain_view(entry, _values(collection), model) for entry in collection.slices]
    features = [view.embedding.to(model.device) for view in views]
    return fit_estimator("classifier", features, [view.grids.coarse.to(model.device) for view in views])


def _values(collection: SupportCollection) -> tuple[int, ...]:
    return tuple(segment.value for segment in collection.classes)
