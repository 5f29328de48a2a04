"""Scores on held-out slices, measured through the product's own prediction, second looks included."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
from SAMFinetuneLogic.finetuning.adapt import Adapted
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice
from SAMFinetuneLogic.metrics import dice, first_click, hd95, noisy_box, noisy_first_click, tight_box
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

_CLICKS = 3
"""The ideal click and two that a hasty user might give: on a few slices one click each is too little to go by."""
_BOXES = 2
"""The tight box and one that a hasty user might draw."""


@dataclass(frozen=True)
class SliceScore:
    """One class on one slice.

    Attributes:
        slice: number in the set.
        value: of the class.
        dice: in [0, 1].
        hd95: in mm; infinite where nothing was found.
    """

    slice: int
    value: int
    dice: float
    hd95: float


def click_scores(
    model: LoadedModel,
    data: LabelledSet,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> list[SliceScore]:
    """One click on each structure of each slice: means over an ideal and two inexact clicks, the same each time.

    Raises:
        Cancelled: on request.
    """
    return _prompted_scores(model, data, (_clicks,), progress, cancelled)[0]


def click_and_box_scores(
    model: LoadedModel,
    data: LabelledSet,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> tuple[list[SliceScore], list[SliceScore]]:
    """:func:`click_scores`, and the same with a box: means over the tight one and an inexact one.

    Raises:
        Cancelled: on request.
    """
    clicked, boxed = _prompted_scores(model, data, (_clicks, _boxes), progress, cancelled)
    return clicked, boxed


def _prompted_scores(
    model: LoadedModel,
    data: LabelledSet,
    kinds: Sequence[Callable[[np.ndarray, list[int]], list[SlicePrompts]]],
    progress: ProgressCallback,
    cancelled: CancelCheck | None,
) -> list[list[SliceScore]]:
    """A list for each of ``kinds``, which give the prompts for a mask, the same for the same seed."""
    predictor = SlicePredictor(model)
    scores: list[list[SliceScore]] = [[] for _ in kinds]
    for number, entry in enumerate(data.slices):
        embedded = predictor.embed(entry.image)
        for value in data.values:
            raise_if_cancelled(cancelled)
            mask = entry.labels == value
            if not mask.any():
                continue
            for result, prompts_for in zip(scores, kinds, strict=True):
                prompts = prompts_for(mask, [number, value])
                found = [predict_slice(predictor, embedded, each).mask for each in prompts]
                result.append(
                    SliceScore(
                        number,
                        value,
                        float(np.mean([dice(mask, answer) for answer in found])),
                        float(np.mean([hd95(mask, answer, entry.spacing) for answer in found])),
                    )
                )
        progress(number + 1, len(data.slices))
    return scores


Labelling = Callable[[LabelledSlice], np.ndarray]
"""Gives a slice's labels (rows, cols) without prompts."""


def automatic_scores(
    answerers: Sequence[Labelling], data: LabelledSet, cancelled: CancelCheck | None = None
) -> list[list[SliceScore]]:
    """Automatic mode: each class on each slice where it is, or where one of those that are compared drew it.

    Drawn where it is not counts as Dice 0; not drawn there, while another did, as 1.

    Returns:
        A list for each of ``answerers``, all of the same classes on the same slices.

    Raises:
        Cancelled: on request.
    """
    scores: list[list[SliceScore]] = [[] for _ in answerers]
    for number, entry in enumerate(data.slices):
        raise_if_cancelled(cancelled)
        found = [labels(entry) for labels in answerers]
        for value in data.values:
            mask, answers = entry.labels == value, [each == value for each in found]
            if not mask.any() and not any(answer.any() for answer in answers):
                continue
            for result, answer in zip(scores, answers, strict=True):
                result.append(SliceScore(number, value, dice(mask, answer), hd95(mask, answer, entry.spacing)))
    return scores


def predicted_labels(adapted: Adapted, model: LoadedModel, entry: LabelledSlice, values: tuple[int, ...]) -> np.ndarray:
    """Labels (rows, cols) that an automatic adapter gives a slice, with these values of the classes."""
    return predicted(adapted, model, entry.image, values).labels


@torch.inference_mode()
def predicted(adapted: Adapted, model: LoadedModel, image: SliceImage, values: tuple[int, ...]) -> SlicePrediction:
    """Class probabilities that an automatic adapter gives a slice, by the softmax that it was trained with.

    Args:
        values: of the classes.
    """
    transform = SliceTransform(image.shape, image.spacing, model.preprocessing)
    inputs = transform.prepare(image.to_uint8())[None].to(model.device)
    embedding = adapted.encode_rest(adapted.encode_prefix(inputs)).float()
    logits = transform.logits_to_slice(adapted.class_logits(embedding)[0].float())
    return SlicePrediction(torch.softmax(logits, 0).cpu().numpy(), values)


def _clicks(mask: np.ndarray, seed: list[int]) -> list[SlicePrompts]:
    rng = np.random.default_rng(seed)
    clicks = [first_click(mask), *(noisy_first_click(mask, rng) for _ in range(_CLICKS - 1))]
    return [SlicePrompts(np.array([[click.row, click.col]], dtype=np.float64), np.array([1])) for click in clicks]


def _boxes(mask: np.ndarray, seed: list[int]) -> list[SlicePrompts]:
    rng = np.random.default_rng(seed)
    boxes = [tight_box(mask), *(noisy_box(mask, rng) for _ in range(_BOXES - 1))]
    return [SlicePrompts(boxes=np.array([box], dtype=np.float64)) for box in boxes]
