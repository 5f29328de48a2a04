"""The few-shot decoder as a candidate: it learns the structure from the annotated slices."""

from typing import ClassVar

import numpy as np

from SAMFinetuneLogic.fewshot.application import predict_slice
from SAMFinetuneLogic.fewshot.collection import SupportCollection
from SAMFinetuneLogic.fewshot.fitted import FewShotModel, SlicePrediction
from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.axes import array_axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.prompting.crops import crop_around
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.levels import LIMIT, Patch
from SAMFinetuneLogic.propagation.reliability import ErrorCurve


class FewShotCandidate:
    """Fits the few-shot decoder to the annotated slices, on the part of the image about what is drawn.

    The first fit is a full one; those without a slice continue it for a few steps, so that they keep a trace of the
    slice that they are measured on.

    Args:
        predictor: the model and its cache.
        volume, window: the image.
        settings: of the fit.
        cancelled: asked in training and before each slice.
    """

    name: ClassVar[str] = "fewshot"
    of_network: ClassVar[bool] = True
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.2, 0.15)

    def __init__(
        self,
        predictor: SlicePredictor,
        volume: Volume,
        annotations: Annotations,
        window: Window,
        settings: FitSettings | None = None,
        cancelled: CancelCheck | None = None,
    ) -> None:
        self._predictor = predictor
        self._cancelled = cancelled
        self._settings = settings or FitSettings()
        self._collection, self._region, self._plane = _support(volume, annotations, window, predictor)
        self._whole: FewShotModel | None = None

    def fit(self, annotations: Annotations) -> "LearnedStructure":
        if self._whole is None:
            self._whole = self._train(self._collection, None)
        dropped = [entry for entry in self._collection.slices if entry.slice.index not in annotations.indices]
        fitted = self._whole
        if dropped:
            fitted = self._train(self._collection.without(dropped), self._whole)
        return LearnedStructure(self._predictor, fitted, self._plane, self._region, annotations, self._cancelled)

    def _train(self, collection: SupportCollection, start: FewShotModel | None) -> FewShotModel:
        cache, model = self._predictor.cache, self._predictor.model
        return fit(collection, model, self._settings, start, cache, cancelled=self._cancelled)


class LearnedStructure:
    """A fitted decoder on the slices of the volume."""

    def __init__(
        self,
        predictor: SlicePredictor,
        fitted: FewShotModel,
        plane: Plane,
        region: tuple[int, int],
        annotations: Annotations,
        cancelled: CancelCheck | None,
    ) -> None:
        self._predictor = predictor
        self._fitted = fitted
        self._plane = plane
        self._region = region
        self._annotations = annotations
        self._cancelled = cancelled
        self._latest: tuple[int, SlicePrediction] | None = None

    def predict(self, value: int, index: int) -> Patch | None:
        if self._latest is None or self._latest[0] != index:
            raise_if_cancelled(self._cancelled)
            self._latest = (index, predict_slice(self._fitted, self._predictor, self._plane, index))
        probability = np.clip(self._latest[1].probability(value), 1e-4, 1 - 1e-4)
        levels = np.clip(np.log(probability / (1 - probability)), -LIMIT, LIMIT)
        return Patch.of(levels, self._annotations.shape, *self._region)

    def distance(self, value: int, index: int) -> float:
        return self._annotations.distance(value, index)


def _support(
    volume: Volume, annotations: Annotations, window: Window, predictor: SlicePredictor
) -> tuple[SupportCollection, tuple[int, int], Plane]:
    """The annotated slices as a support collection, cut to the surroundings of what is drawn on any of them.

    Returns:
        The collection, the row and column where its region begins, and the region of the volume.
    """
    drawn = np.zeros(annotations.shape, dtype=bool)
    for by_slice in annotations.masks.values():
        for mask in by_slice.values():
            drawn |= mask
    rows, cols = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    bounds = (int(rows[0]), int(cols[0]), int(rows[-1]), int(cols[-1]))
    crop = crop_around(bounds, annotations.shape, annotations.spacing)
    region = _cut(volume, annotations, (crop.row, crop.col), (crop.rows, crop.cols))
    values = max(annotations.masks)
    stack = np.zeros((annotations.count, crop.rows, crop.cols), dtype=np.uint8 if values < 256 else np.uint16)
    for value, by_slice in annotations.masks.items():
        for index, mask in by_slice.items():
            stack[index][mask[crop.slices]] = value
    voxels = np.moveaxis(stack, 0, array_axis(annotations.axis))
    labels = LabelMap(voxels, region.ijk_to_ras, annotations.segments)
    cache, model = predictor.cache, predictor.model
    collection = new_collection(region, labels, annotations.indices, model, annotations.axis, window, cache)
    return collection, (crop.row, crop.col), Plane.of(region, annotations.axis, window)


def _cut(volume: Volume, annotations: Annotations, start: tuple[int, int], size: tuple[int, int]) -> Volume:
    """A part of the volume that has all slices, but only some rows and columns of each."""
    stack = np.moveaxis(volume.voxels, array_axis(annotations.axis), 0)
    part = stack[:, start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    affine = volume.ijk_to_ras.copy()
    affine[:3, 3] = volume.slice_to_ras(np.array([[0.0, *start]]), annotations.axis)[0]
    return Volume(np.moveaxis(part, 0, array_axis(annotations.axis)), affine, volume.modality, volume.name)
