"""The outline moved to where the image says that the structure is, by what its gray values look like nearby.

A logistic regression tells the pixels inside from those just outside of the annotated outlines by their gray value and
its local means, as they are, squared and multiplied. Its log-odds are added to the outline's signed distance, with a
weight that grows with the distance to the annotated slices: close by the outline is right, further away the image. It
needs no network, learns in milliseconds, and is exact about contrasts that a network trained on other images has never
seen; where there is no contrast it leaves the outline as it is. Our own construction, in the spirit of region-based
active contours (Chan and Vese 2001) with a shape prior.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.candidate import OutlineCandidate, Outlines
from SAMFinetuneLogic.propagation.levels import Bounds, Patch, nothing, signed_distance
from SAMFinetuneLogic.propagation.regions import box_around, widened
from SAMFinetuneLogic.propagation.reliability import ErrorCurve

BAND = 8
"""Pixels nearer to the outline than this are learned from, and can change sides."""
SCALES = (0.0, 1.0, 2.5)
"""Standard deviations of the local means, in pixels."""
EVIDENCE_LIMIT = 3.0
"""The log-odds of a single pixel stay within plus and minus this,"""
SMOOTHING = 1.0
"""and are averaged over this standard deviation, in pixels."""
EVIDENCE_WEIGHT = 1.5
FADING = 0.5
"""On a slice d away from the nearest annotated one, the outline weighs 1 / (1 + FADING d)."""
_RIDGE = 2.0
_ROUNDS = 12
_MIN_PIXELS = 10


@dataclass(frozen=True, eq=False)
class GrayValueClassifier:
    """Tells inside from outside by features (..., n): log-odds of 0 mean that both are equally likely."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """(...) for features (..., n)."""
        return ((features - self.mean) / self.scale) @ self.weights + self.bias


def gray_value_features(pixels: np.ndarray) -> np.ndarray:
    """Features (rows, cols, n) of uint8 pixels (rows, cols) or (rows, cols, 3): local means and their products."""
    channels = pixels[..., None] if pixels.ndim == 2 else pixels
    means = [
        ndimage.gaussian_filter(channel, scale, mode="nearest") if scale else channel
        for channel in np.moveaxis(channels.astype(np.float32) / 255, 2, 0)
        for scale in SCALES
    ]
    return np.stack([*means, *(first * second for first, second in combinations_with_replacement(means, 2))], axis=-1)


def fit_gray_values(features: np.ndarray, inside: np.ndarray) -> GrayValueClassifier | None:
    """Ridge-penalised logistic regression by Newton's method, both classes with the same total weight.

    Args:
        features: (N, n).
        inside: boolean (N,).

    Returns:
        None if one of the classes has next to no pixels.
    """
    positive = int(np.count_nonzero(inside))
    if min(positive, len(inside) - positive) < _MIN_PIXELS:
        return None
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    rows = np.concatenate([(features - mean) / scale, np.ones((len(features), 1))], axis=1).astype(np.float64)
    importance = np.where(inside, 0.5 / positive, 0.5 / (len(inside) - positive)) * len(inside)
    weights = np.zeros(rows.shape[1])
    penalty = _RIDGE * np.eye(len(weights))
    for _ in range(_ROUNDS):
        probability = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        gradient = rows.T @ (importance * (inside - probability)) - penalty @ weights
        curvature = (rows * (importance * probability * (1 - probability))[:, None]).T @ rows + penalty
        weights += np.linalg.solve(curvature, gradient)
    return GrayValueClassifier(mean, scale, weights[:-1], float(weights[-1]))


class AppearanceCandidate:
    """Outlines that come from elsewhere, corrected by gray values.

    Args:
        volume, window: the image.
        outline: what is corrected.
    """

    name: ClassVar[str] = "appearance"
    of_network: ClassVar[bool] = False
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.04, 0.17)

    def __init__(self, volume: Volume, window: Window, outline: OutlineCandidate) -> None:
        self._volume = volume
        self._window = window
        self._outline = outline
        self._latest: tuple[Annotations, CorrectedOutlines] | None = None

    def fit(self, annotations: Annotations) -> "CorrectedOutlines":
        # Another candidate may build on this one and ask for the same fit.
        if self._latest is None or self._latest[0] is not annotations:
            fitted = CorrectedOutlines(annotations, self._volume, self._window, self._outline.fit(annotations))
            self._latest = (annotations, fitted)
        return self._latest[1]


class CorrectedOutlines:
    """The outlines of a fit; each segment's classifier is learned when it is first asked for."""

    def __init__(self, annotations: Annotations, volume: Volume, window: Window, outlines: Outlines) -> None:
        self._annotations = annotations
        self._volume = volume
        self._window = window
        self._outlines = outlines
        self._classifiers: dict[int, GrayValueClassifier | None] = {}
        self._latest: tuple[tuple[int, int], Patch | None] | None = None

    def predict(self, value: int, index: int) -> Patch | None:
        if self._latest is None or self._latest[0] != (value, index):
            self._latest = ((value, index), self._predict(value, index))
        return self._latest[1]

    def _predict(self, value: int, index: int) -> Patch | None:
        if not self._annotations.present(value):
            return None
        found = self._outlines.level(value, index)
        if found is None:
            return nothing(self._annotations.shape)
        bounds, level = found
        classifier = self._classifier(value)
        if classifier is None:
            return Patch.of(level, self._annotations.shape, bounds[0], bounds[1])
        odds = np.clip(classifier.log_odds(self._features(index, bounds)), -EVIDENCE_LIMIT, EVIDENCE_LIMIT)
        evidence = ndimage.gaussian_filter(odds, SMOOTHING, mode="nearest")
        trust = 1 / (1 + FADING * self.distance(value, index))
        combined = trust * level + (1 - trust) * EVIDENCE_WEIGHT * evidence
        return Patch.of(combined, self._annotations.shape, bounds[0], bounds[1])

    def distance(self, value: int, index: int) -> float:
        return self._outlines.distance(value, index)

    def _classifier(self, value: int) -> GrayValueClassifier | None:
        if value not in self._classifiers:
            features, inside = [], []
            drawn = self._annotations.masks[value].values()
            bounds = widened(box_around(drawn), (BAND + 1, BAND + 1), self._annotations.shape)
            row0, col0, row1, col1 = bounds
            for index in self._annotations.present(value):
                mask = self._annotations.masks[value][index][row0 : row1 + 1, col0 : col1 + 1]
                band = np.abs(signed_distance(mask, self._annotations.spacing)) <= BAND
                features.append(self._features(index, bounds)[band])
                inside.append(mask[band])
            self._classifiers[value] = fit_gray_values(np.concatenate(features), np.concatenate(inside))
        return self._classifiers[value]

    def _features(self, index: int, bounds: Bounds) -> np.ndarray:
        row0, col0, row1, col1 = bounds
        pixels = self._volume.slice_pixels(SliceIndex(self._annotations.axis, index))
        return gray_value_features(self._window.to_uint8(pixels[row0 : row1 + 1, col0 : col1 + 1]))
