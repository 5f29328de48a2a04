"""A fitted few-shot decoder with all that it needs to answer, and its answer on one slice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.fewshot.collection import SupportModel
from SAMFinetuneLogic.fewshot.decoder import FewShotDecoder
from SAMFinetuneLogic.fewshot.dense import DenseEstimator
from SAMFinetuneLogic.fewshot.fit_record import FitRecord
from SAMFinetuneLogic.fewshot.guesses import guess_on
from SAMFinetuneLogic.fewshot.mirror import MirroredEmbedding, encode_mirrored
from SAMFinetuneLogic.fewshot.objective import class_probabilities
from SAMFinetuneLogic.fewshot.results import SliceConfidence
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.targets import TargetEmbeddings
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor


@dataclass(frozen=True, eq=False)
class SlicePrediction:
    """Class probabilities on a slice's own pixels.

    Attributes:
        probabilities: float32 (n + 1, rows, cols), background first; those of a "sigmoid" decoder need not sum to 1.
        values: of the classes, in the same order without the background.
    """

    probabilities: np.ndarray
    values: tuple[int, ...]

    @property
    def labels(self) -> np.ndarray:
        """uint16 (rows, cols): the likeliest class of each pixel, 0 for background."""
        return np.array([0, *self.values], dtype=np.uint16)[self.probabilities.argmax(0)]

    def probability(self, value: int) -> np.ndarray:
        """float32 (rows, cols) of one class."""
        return self.probabilities[1 + self.values.index(value)]

    def confidence(self, value: int) -> float:
        """The Dice that the probabilities promise if they are right: 2 sum(p m) / (sum(p) + sum(m)).

        For a class that was found nowhere it is the probability that this is right at the likeliest pixel.
        """
        probability = self.probability(value).astype(np.float64)
        mask = self.labels == value
        if not mask.any():
            return float(1 - probability.max())
        return float(2 * probability[mask].sum() / (probability.sum() + mask.sum()))

    def doubtful_pixels(self, value: int) -> float:
        """How many pixels of one class are wrong, by expectation, if the probabilities are right."""
        probability = self.probability(value).astype(np.float64)
        return float(np.abs(probability - (self.labels == value)).sum())

    def on_slice(self, index: int) -> list[SliceConfidence]:
        """How sure the answer is of each class; ``index`` says of which slice."""
        labels = self.labels
        return [
            SliceConfidence(
                value, index, int((labels == value).sum()), self.confidence(value), self.doubtful_pixels(value)
            )
            for value in self.values
        ]


@dataclass(frozen=True, eq=False)
class FewShotModel:
    """What :func:`SAMFinetuneLogic.fewshot.fitting.fit` gives.

    Attributes:
        decoder: in evaluation mode, on the device where it was trained.
        support_model: whose embeddings it reads.
        classes: in the order of its output.
        targets: of all support slices, as tokens.
        estimator: of the first guess; None where the settings ask for none.
        mirror: for each class the weight of the guess on the mirror image; empty where none is looked at.
        predictor: encodes mirror images.
        settings, record: how it was trained.
        plane, window_name: what to open a new image with.
    """

    decoder: FewShotDecoder
    support_model: SupportModel
    classes: tuple[Segment, ...]
    targets: TargetEmbeddings
    estimator: DenseEstimator | None
    mirror: tuple[float, ...]
    predictor: SlicePredictor
    settings: FitSettings
    record: FitRecord
    plane: str
    window_name: str

    @property
    def values(self) -> tuple[int, ...]:
        """Of the classes, in the order of the output."""
        return tuple(segment.value for segment in self.classes)

    @property
    def device(self) -> torch.device:
        return self.decoder.class_tokens.device

    def check(self, model: LoadedModel) -> None:
        """Refuse a model whose embeddings the decoder has never seen.

        Raises:
            ModelError: another encoder than at fitting.
        """
        if SupportModel.of(model) != self.support_model:
            raise ModelError(
                f"The few-shot decoder was fitted to {self.support_model.title} ({self.support_model.encoder[:8]}), "
                f"not to {model.entry.title}: load that model, or fit the collection again."
            )

    @torch.inference_mode()
    def logits(self, embeddings: torch.Tensor, mirrored: Sequence[MirroredEmbedding] | None = None) -> torch.Tensor:
        """Class logits of slices.

        Args:
            embeddings: (B, C, h, w).
            mirrored: of their mirror images; None to do without.

        Returns:
            (B, n, 4h, 4w), relative to a background of 0.
        """
        features = embeddings.to(self.device, torch.float32)
        guess = None
        if self.estimator is not None:
            looks = [None] * len(features) if mirrored is None else mirrored
            guess = torch.stack(
                [
                    guess_on(self.estimator, feature, look, self.mirror)
                    for feature, look in zip(features, looks, strict=True)
                ]
            )
        return answer(self.decoder, features, self.targets, guess, self.settings)

    def predict(self, embedded: EmbeddedSlice) -> SlicePrediction:
        """Class probabilities on an encoded slice (or crop of one), in the slice's own pixels."""
        mirrored = None
        if any(self.mirror):
            image = embedded.image
            mirrored = [encode_mirrored(self.predictor, image.to_uint8(), image.spacing, image.slice)]
        logits = embedded.transform.logits_to_slice(self.logits(embedded.embedding, mirrored)[0])
        probabilities = class_probabilities(logits, self.settings.background, 0)
        return SlicePrediction(probabilities.cpu().numpy(), self.values)


@torch.no_grad()
def answer(
    decoder: FewShotDecoder,
    embeddings: torch.Tensor,
    targets: TargetEmbeddings,
    guess: torch.Tensor | None,
    settings: FitSettings,
) -> torch.Tensor:
    """Logits (B, n, 4h, 4w) as they are used: of a decoder that knows both, the mean with and without the guess."""
    logits = decoder(embeddings, targets.vectors, targets.kinds, guess)
    if guess is None or settings.blind == 0:
        return logits
    return (logits + decoder(embeddings, targets.vectors, targets.kinds, None)) / 2


def new_decoder(model: LoadedModel, class_count: int, settings: FitSettings) -> FewShotDecoder:
    """A decoder with the checkpoint's weights, on the model's device."""
    anchored = settings.anchored and settings.dense != "none"
    return FewShotDecoder(model.network, class_count, anchored).to(model.device)
