"""What a collection teaches, on the slices of a new image: no clicks."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.results import SliceConfidence, VolumeResult
from SAMFinetuneLogic.imaging.axes import array_axis, resolve_axis
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import WINDOW_NAMES, Window, choose_window
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor


class TaughtModel(Protocol):
    """What :class:`~SAMFinetuneLogic.fewshot.fitted.FewShotModel`, the fitted decoder, and
    :class:`~SAMFinetuneLogic.fewshot.training_free.TrainingFreeModel` have in common."""

    @property
    def classes(self) -> tuple[Segment, ...]:
        """The structures."""
        ...

    @property
    def plane(self) -> str:
        """Of the slices to look at: axial, coronal or sagittal."""
        ...

    @property
    def window_name(self) -> str:
        """How to show them."""
        ...

    def check(self, model: LoadedModel) -> None:
        """Raise ModelError for a model that did not make the collection's embeddings."""
        ...

    def predict(self, embedded: EmbeddedSlice) -> SlicePrediction:
        """Class probabilities on an encoded slice."""
        ...


def plane_for(
    taught: TaughtModel, volume: Volume, axis: str | None = None, window: Window | str | None = None
) -> Plane:
    """How a collection wants an image shown: along its plane's axis, in its window.

    Args:
        axis: another axis, by any of its names.
        window: another window, or its name.
    """
    chosen_axis = resolve_axis(axis or taught.plane, volume.ijk_to_ras)
    if window is None:
        window = taught.window_name if taught.window_name in WINDOW_NAMES else "auto"
    return Plane.of(volume, chosen_axis, window if isinstance(window, Window) else choose_window(volume, window))


def predict_slice(taught: TaughtModel, predictor: SlicePredictor, plane: Plane, index: int) -> SlicePrediction:
    """Class probabilities on one slice, in the volume's own orientation.

    Raises:
        GeometryError: the index lies outside of the volume.
        ModelError: the predictor's model did not make the collection's embeddings.
    """
    taught.check(predictor.model)
    shown = taught.predict(predictor.embed(plane.image(index)))
    return SlicePrediction(plane.restore(shown.probabilities), shown.values)


def apply_to_volume(
    taught: TaughtModel,
    volume: Volume,
    model: LoadedModel,
    axis: str | None = None,
    window: Window | str | None = None,
    indices: Sequence[int] | None = None,
    cache: EmbeddingCache | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> VolumeResult:
    """Segment each slice on its own.

    Args:
        taught: from :func:`SAMFinetuneLogic.fewshot.fitting.fit`, or training-free.
        model: the one that made the collection's embeddings.
        axis, window: see :func:`plane_for`.
        indices: of the slices; None for all. The others stay background.
        progress: called after each slice.
        cancelled: asked before each.

    Raises:
        ModelError: another model.
        Cancelled: ``cancelled`` said so.
    """
    plane = plane_for(taught, volume, axis, window)
    predictor = SlicePredictor(model, cache)
    wanted = range(volume.slice_count(plane.axis)) if indices is None else indices
    voxels = np.zeros(
        volume.shape, dtype=np.uint8 if max(segment.value for segment in taught.classes) < 256 else np.uint16
    )
    by_slice = np.moveaxis(voxels, array_axis(plane.axis), 0)
    found: list[SliceConfidence] = []
    for done, index in enumerate(wanted):
        raise_if_cancelled(cancelled)
        prediction = predict_slice(taught, predictor, plane, index)
        by_slice[index] = prediction.labels
        found += prediction.on_slice(index)
        progress(done + 1, len(wanted))
    labels = LabelMap(voxels, volume.ijk_to_ras, taught.classes, name=volume.name)
    return VolumeResult(labels, plane.axis, plane.window, tuple(found))
