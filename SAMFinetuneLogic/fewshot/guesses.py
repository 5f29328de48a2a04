"""First guesses of where the classes are: estimators learned from the views of labelled slices, and cross-fitted ones.

Reconstructed: the source paper's abstract knows no first guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from SAMFinetuneLogic.fewshot.dense import DenseEstimator, fit_estimator, mean_of
from SAMFinetuneLogic.fewshot.mirror import MirroredEmbedding, joined, mirror_weights
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.views import SliceViews, View

_FOLDS = 5
_VIEWS_PER_ESTIMATOR = 3
"""The plain view and two copies of a slice: more that are so alike change an estimator little and cost time."""

_COPIES_PER_ESTIMATOR = 6
"""For other images, where copies differ more."""


def estimator_of(slices: Sequence[SliceViews], settings: FitSettings, device: torch.device) -> DenseEstimator | None:
    """The estimator of first guesses, learned from slices; None where the settings ask for none."""
    if settings.dense == "none":
        return None
    copies = [view for entry in slices for view in entry[1 : 1 + _COPIES_PER_ESTIMATOR]]
    if settings.dense == "classifier" and settings.purpose == "other_images" and copies:
        return mean_of(_fit([entry[0] for entry in slices], settings, device), _fit(copies, settings, device))
    return _fit([view for entry in slices for view in entry[:_VIEWS_PER_ESTIMATOR]], settings, device)


@dataclass(frozen=True, eq=False)
class CrossFittedGuesses:
    """Guesses as they will be on a new slice, by estimators that have not seen the slice.

    Attributes:
        views: of each view of each slice, (n, h, w) on the CPU. Without the mirror image: where the labelled slices
            are at home, a second look makes a guess so good that a decoder would lean on it.
        mirror: for each class the weight of the guess on a new slice's mirror image; empty where there is none.
    """

    views: list[list[torch.Tensor]]
    mirror: tuple[float, ...]


def cross_fitted_guesses(
    slices: Sequence[SliceViews], settings: FitSettings, device: torch.device
) -> CrossFittedGuesses | None:
    """Guesses on labelled slices; None where the settings ask for none.

    A single slice has none but its own views to learn from; for other images, where the copies differ more, a view's
    guess then comes from every other view.
    """
    if settings.dense == "none":
        return None
    estimators = _estimators_without(slices, settings, device)
    guesses = [
        [estimator.logits(view.embedding.to(device)).cpu() for view, estimator in zip(*entries, strict=True)]
        for entries in zip(slices, estimators, strict=True)
    ]
    plain = [entry[0] for entry in slices]
    mirrored = [
        view.mirrored.logits(fitted[0], device).cpu()
        for view, fitted in zip(plain, estimators, strict=True)
        if view.mirrored is not None
    ]
    if not mirrored:
        return CrossFittedGuesses(guesses, ())
    weights = mirror_weights([entry[0] for entry in guesses], mirrored, [view.grids.coarse for view in plain])
    return CrossFittedGuesses(guesses, weights)


def guess_on(
    estimator: DenseEstimator,
    embedding: torch.Tensor,
    mirrored: MirroredEmbedding | None,
    weights: Sequence[float],
) -> torch.Tensor:
    """The guess (n, h, w) on a new slice.

    Args:
        embedding: (C, h, w), on the estimator's device.
        mirrored: of its mirror image; None to do without.
        weights: of the latter; see :class:`CrossFittedGuesses`.
    """
    own = estimator.logits(embedding)
    if mirrored is None or not any(weights):
        return own
    return joined(own, mirrored.logits(estimator, own.device), weights)


def _estimators_without(
    slices: Sequence[SliceViews], settings: FitSettings, device: torch.device
) -> list[list[DenseEstimator]]:
    """For each view of each slice an estimator that was fitted without it."""

    def fitted(part: Sequence[SliceViews]) -> DenseEstimator:
        estimator = estimator_of(part, settings, device)
        assert estimator is not None
        return estimator

    if len(slices) == 1 and len(slices[0]) > 1 and settings.purpose == "other_images":
        views = slices[0]
        halves = [fitted([views[start::2]]) for start in (0, 1)]
        return [[halves[1 - n % 2] for n in range(len(views))]]
    folds = [list(range(n, len(slices), _FOLDS)) for n in range(min(_FOLDS, len(slices)))]
    result: list[list[DenseEstimator]] = [[] for _ in slices]
    for fold in folds:
        estimator = fitted([entry for n, entry in enumerate(slices) if n not in fold] or list(slices))
        for n in fold:
            result[n] = [estimator] * len(slices[n])
    return result


def _fit(views: Sequence[View], settings: FitSettings, device: torch.device) -> DenseEstimator:
    assert settings.dense != "none"
    features = [view.embedding.to(device, torch.float32) for view in views]
    fractions = [view.grids.coarse.to(device) for view in views]
    return fit_estimator(settings.dense, features, fractions, settings.prototypes)
