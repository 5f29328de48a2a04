"""A first guess of where the classes are, per cell of the embedding: for the decoder's mask prompt, and on its own.

Two estimators share one form: features of a cell, and a logistic regression on them. "classifier" takes the embedding
itself; "prototypes" takes, for each class, the cosine similarity to its nearest prototype less that to the nearest
one of the background, so that the regression only calibrates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from SAMFinetuneLogic.fewshot.settings import DenseInput
from SAMFinetuneLogic.fewshot.targets import pool_targets

_LOGIT_LIMIT = 7.0
_RIDGE = 1e-3
_ITERATIONS = 40


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Multinomial logistic regression on standardised features.

    Attributes:
        weight: (n + 1, F).
        bias: (n + 1,).
        mean, scale: (F,).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Features (N, F) -> (N, n + 1), less those of the background, column 0."""
        raw = ((features - self.mean) / self.scale) @ self.weight.T + self.bias
        return raw - raw[:, :1]


@dataclass(frozen=True, eq=False)
class DenseEstimator:
    """Class logits of every cell of an embedding.

    Attributes:
        classifier: on the features.
        prototypes: unit vectors (n + 1) x (K, C) after centring, or None where the features are the embedding.
        centre: (C,), subtracted before cosines are taken.
    """

    classifier: LinearClassifier
    prototypes: tuple[torch.Tensor, ...] | None = None
    centre: torch.Tensor | None = None

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """(C, h, w) -> (n, h, w), relative to the background, within SAM's range of mask prompts."""
        rows = embedding.flatten(1).T.float()
        logits = self.classifier.logits(self._features(rows))[:, 1:].clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
        return logits.T.reshape(-1, *embedding.shape[1:])

    def _features(self, rows: torch.Tensor) -> torch.Tensor:
        if self.prototypes is None or self.centre is None:
            return rows
        return _similarities(rows, self.prototypes, self.centre)


def fit_estimator(
    kind: DenseInput, features: Sequence[torch.Tensor], fractions: Sequence[torch.Tensor], prototypes: int = 4
) -> DenseEstimator:
    """Learn an estimator from labelled embeddings.

    Args:
        kind: "prototypes" or "classifier".
        features: each (C, h, w).
        fractions: coverage of the classes on the same grid, each (n + 1, h, w); cells of the padding do not count.
        prototypes: k for each class.
    """
    rows = torch.cat([feature.flatten(1).T for feature in features]).float()
    targets = torch.cat([fraction.flatten(1) for fraction in fractions], 1).T.to(rows)
    inside = targets.sum(1) > 0.5
    rows, targets = rows[inside], targets[inside]
    if kind != "prototypes":
        return DenseEstimator(fit_linear(rows, targets))
    centre = rows.mean(0)
    pooled = pool_targets(features, fractions, "prototypes", prototypes)
    unit = functional.normalize(pooled.vectors.to(rows) - centre, dim=1)
    kinds = pooled.kinds.to(rows.device)
    groups = tuple(unit[kinds == n] for n in range(targets.shape[1]))
    return DenseEstimator(fit_linear(_similarities(rows, groups, centre), targets), groups, centre)


def mean_of(first: DenseEstimator, second: DenseEstimator) -> DenseEstimator:
    """The estimator whose logits are the mean of two classifiers' on the same embeddings, before they are limited."""
    parts = [estimator.classifier for estimator in (first, second)]
    weights = [part.weight / part.scale for part in parts]
    biases = [part.bias - weight @ part.mean for part, weight in zip(parts, weights, strict=True)]
    zeros = torch.zeros_like(parts[0].mean)
    return DenseEstimator(
        LinearClassifier((weights[0] + weights[1]) / 2, (biases[0] + biases[1]) / 2, zeros, torch.ones_like(zeros))
    )


def fit_linear(features: torch.Tensor, targets: torch.Tensor) -> LinearClassifier:
    """Logistic regression by L-BFGS from zero: deterministic.

    Args:
        features: (N, F).
        targets: (N, n + 1) fractions, which need not sum to 1.
    """
    mean, scale = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    standard = (features - mean) / scale
    share = targets / targets.sum(1, keepdim=True).clamp(min=1e-6)
    weight = torch.zeros(targets.shape[1], features.shape[1], device=features.device, requires_grad=True)
    bias = torch.zeros(targets.shape[1], device=features.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        entropy = -(share * torch.log_softmax(standard @ weight.T + bias, dim=1)).sum(1).mean()
        total = entropy + _RIDGE * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)
    return LinearClassifier(weight.detach(), bias.detach(), mean, scale)


def _similarities(rows: torch.Tensor, prototypes: Sequence[torch.Tensor], centre: torch.Tensor) -> torch.Tensor:
    """(N, n): for each class the nearest prototype's cosine, less the background's."""
    unit = functional.normalize(rows - centre, dim=1)

    def nearest(group: torch.Tensor) -> torch.Tensor:
        return (unit @ group.T).amax(1) if len(group) else unit.new_zeros(len(unit))

    background = nearest(prototypes[0])
    return torch.stack([nearest(group) - background for group in prototypes[1:]], 1)
