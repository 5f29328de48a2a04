"""First guesses of where the classes are: estimators learned from the views of labelled slices, and cross-fitted ones.

Reconstructed: the source paper's abstract knows no first guess.
"""

from collections.abc import Sequence

import torch

from SAMFinetuneLogic.fewshot.dense import DenseEstimator, fit_estimator, mean_of
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


def cross_fitted_guesses(
    slices: Sequence[SliceViews], settings: FitSettings, device: torch.device
) -> list[list[torch.Tensor]] | None:
    """For each view of each slice the guess (n, h, w) of an estimator that was fitted without the slice.

    A single slice has none but its own views to learn from; for other images, where the copies differ more, a view's
    guess then comes from every other view.
    """
    if settings.dense == "none":
        return None
    if len(slices) == 1 and len(slices[0]) > 1 and settings.purpose == "other_images":
        return [_from_every_other(slices[0], settings, device)]
    folds = [list(range(n, len(slices), _FOLDS)) for n in range(min(_FOLDS, len(slices)))]
    guesses: list[list[torch.Tensor]] = [[] for _ in slices]
    for fold in folds:
        others = [entry for n, entry in enumerate(slices) if n not in fold] or list(slices)
        estimator = estimator_of(others, settings, device)
        assert estimator is not None
        for n in fold:
            guesses[n] = [estimator.logits(view.embedding.to(device)).cpu() for view in slices[n]]
    return guesses


def _from_every_other(views: SliceViews, settings: FitSettings, device: torch.device) -> list[torch.Tensor]:
    halves = [estimator_of([views[start::2]], settings, device) for start in (0, 1)]
    guesses = []
    for n, view in enumerate(views):
        estimator = halves[1 - n % 2]
        assert estimator is not None
        guesses.append(estimator.logits(view.embedding.to(device)).cpu())
    return guesses


def _fit(views: Sequence[View], settings: FitSettings, device: torch.device) -> DenseEstimator:
    assert settings.dense != "none"
    features = [view.embedding.to(device, torch.float32) for view in views]
    fractions = [view.grids.coarse.to(device) for view in views]
    return fit_estimator(settings.dense, features, fractions, settings.prototypes)
