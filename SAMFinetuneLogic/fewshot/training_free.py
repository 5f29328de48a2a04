"""Few-shot without training, from the first labelled slice on: similarity to prototypes prompts the stock decoder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.collection import SupportCollection, check_model
from SAMFinetuneLogic.fewshot.dense import DenseEstimator, fit_estimator
from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
from SAMFinetuneLogic.fewshot.objective import class_probabilities
from SAMFinetuneLogic.fewshot.views import plain_view
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.metrics import first_click, tight_box
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor

_NOTHING_LOGIT = -10.0


@dataclass(frozen=True, eq=False)
class PrototypePrompts:
    """What similarity says to SAM about one class on one slice.

    Attributes:
        box: (4,) (row0, col0, row1, col1) of the largest similar region.
        points: (N, 2) (row, col); the middle of that region first, then, if there is one, the middle of the most
            dissimilar place within the box.
        labels: (N,) 1 and 0.
    """

    box: np.ndarray
    points: np.ndarray
    labels: np.ndarray


def fit_prototypes(collection: SupportCollection, model: LoadedModel, prototypes: int = 4) -> DenseEstimator:
    """Prototypes of each class and of the background, and the calibration of their similarity.

    Raises:
        InputError: nothing is labelled.
        ModelError: the collection belongs to another model.
    """
    check_model(collection, model)
    if not any(entry.labels.any() for entry in collection.slices):
        raise InputError("Nothing is labelled in the collection; add a slice on which a structure is labelled.")
    values = tuple(segment.value for segment in collection.classes)
    views = [plain_view(entry, values, model) for entry in collection.slices]
    features = [view.embedding.to(model.device) for view in views]
    fractions = [view.grids.coarse.to(model.device) for view in views]
    return _at_best_dice(fit_estimator("prototypes", features, fractions, prototypes), features, fractions)


def _at_best_dice(
    estimator: DenseEstimator, features: Sequence[torch.Tensor], fractions: Sequence[torch.Tensor]
) -> DenseEstimator:
    """Move each class's logit 0 to where the support slices' Dice is best: likelihood calls a small class absent."""
    logits = torch.cat([estimator.logits(feature).flatten(1) for feature in features], 1)
    truth = torch.cat([fraction[1:].flatten(1) for fraction in fractions], 1)
    bias = estimator.classifier.bias.clone()
    for n in range(len(logits)):
        values, order = logits[n].sort(descending=True)
        found = truth[n][order].cumsum(0)
        taken = torch.arange(1, len(values) + 1, device=values.device)
        best = int((2 * found / (taken + truth[n].sum())).argmax())
        after = values[min(best + 1, len(values) - 1)]
        bias[n + 1] -= (values[best] + after) / 2
    return replace(estimator, classifier=replace(estimator.classifier, bias=bias))


@dataclass(frozen=True, eq=False)
class TrainingFreeModel:
    """A collection that segments without training, from its first labelled slice on.

    Attributes:
        collection: what it was taken from.
        estimator: the prototypes and their calibration.
        predictor: the model whose stock decoder is prompted.
    """

    collection: SupportCollection
    estimator: DenseEstimator
    predictor: SlicePredictor

    @classmethod
    def of(cls, collection: SupportCollection, model: LoadedModel, prototypes: int = 4) -> "TrainingFreeModel":
        """Take the prototypes of a collection.

        Raises:
            InputError: nothing is labelled.
            ModelError: the collection belongs to another model.
        """
        return cls(collection, fit_prototypes(collection, model, prototypes), SlicePredictor(model))

    @property
    def classes(self) -> tuple[Segment, ...]:
        return self.collection.classes

    @property
    def plane(self) -> str:
        return self.collection.plane

    @property
    def window_name(self) -> str:
        return self.collection.window_name

    def check(self, model: LoadedModel) -> None:
        """Refuse a model that did not make the collection's embeddings.

        Raises:
            ModelError: it did not.
        """
        check_model(self.collection, model)

    def predict(self, embedded: EmbeddedSlice) -> SlicePrediction:
        """Class probabilities on an encoded slice."""
        values = [segment.value for segment in self.classes]
        return predict_training_free(self.estimator, values, self.predictor, embedded)


def similarity_prompts(similarity: np.ndarray) -> PrototypePrompts | None:
    """Box and points from a map of logits (rows, cols); None where nothing is similar enough."""
    similar = similarity > 0
    parts, count = ndimage.label(similar)
    if not count:
        return None
    weights = ndimage.sum(similarity, parts, range(1, count + 1))
    region = parts == 1 + int(np.argmax(weights))
    row0, col0, row1, col1 = tight_box(region)
    inside = first_click(region)
    points, labels = [(inside.row, inside.col)], [1]
    within = np.zeros_like(region)
    within[row0 : row1 + 1, col0 : col1 + 1] = True
    unlike = within & (similarity < min(0.0, float(np.median(similarity[within]))))
    if unlike.any():
        outside = first_click(unlike)
        points.append((outside.row, outside.col))
        labels.append(0)
    return PrototypePrompts(np.array([row0, col0, row1, col1]), np.array(points), np.array(labels))


def predict_training_free(
    estimator: DenseEstimator, values: Sequence[int], predictor: SlicePredictor, embedded: EmbeddedSlice
) -> SlicePrediction:
    """Class probabilities on an encoded slice.

    Args:
        estimator: from :func:`fit_prototypes`.
        values: of the collection's classes, in order.
    """
    with torch.inference_mode():
        similarity = embedded.transform.logits_to_slice(at_mask_size(estimator.logits(embedded.embedding[0])))
    takes_points = "point" in predictor.model.entry.prompts
    logits = []
    for plane in similarity.cpu().numpy():
        prompts = similarity_prompts(plane)
        if prompts is None:
            logits.append(np.full(plane.shape, _NOTHING_LOGIT, dtype=np.float32))
            continue
        points, labels = (prompts.points, prompts.labels) if takes_points else (None, None)
        logits.append(predictor.predict(embedded, points, labels, prompts.box).slice_logits[0])
    probabilities = class_probabilities(torch.from_numpy(np.stack(logits)), "softmax", 0)
    return SlicePrediction(probabilities.numpy(), tuple(values))


def at_mask_size(coarse: torch.Tensor) -> torch.Tensor:
    """(n, h, w) to the decoder's resolution, four times finer."""
    fine = torch.nn.functional.interpolate(coarse[None], scale_factor=4, mode="bilinear", align_corners=False)
    return fine[0]
