"""What the base finds without prompts from the same labels, without training: what an automatic adapter must beat."""

from collections.abc import Callable

import numpy as np

from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportModel, SupportSlice
from SAMFinetuneLogic.fewshot.training_free import TrainingFreeModel
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.prompting.predictor import SlicePredictor


def training_free_base(
    model: LoadedModel, learned: LabelledSet, cancelled: CancelCheck | None = None
) -> Callable[[LabelledSlice], np.ndarray]:
    """The base model with labelled slices as examples.

    Args:
        learned: the slices that the adapter learned from, and no others. A structure that is on none of them is not
            looked for.

    Returns:
        What gives a slice's labels, uint16 (rows, cols).

    Raises:
        InputError: nothing is labelled on the slices.
        Cancelled: on request.
    """
    shown = {int(value) for entry in learned.slices for value in np.unique(entry.labels)}
    predictor, slices = SlicePredictor(model), []
    for entry in learned.slices:
        raise_if_cancelled(cancelled)
        image = entry.image
        slices.append(
            SupportSlice(
                pixels=entry.pixels,
                labels=entry.labels,
                spacing=entry.spacing,
                embedding=predictor.embed(image).embedding[0].cpu().numpy().astype(np.float16),
                image=learned.images[entry.group],
                image_key=image.content_hash,
                slice=entry.slice,
                plane=entry.plane,
                window=image.window,
            )
        )
    classes = tuple(segment for segment in learned.segments if segment.value in shown)
    base = TrainingFreeModel.of(SupportCollection(SupportModel.of(model), classes, tuple(slices)), model)
    return lambda entry: base.predict(predictor.embed(entry.image)).labels
