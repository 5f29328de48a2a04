"""Target embeddings: what a labelled region looks like to the encoder, as a few vectors (the paper's prompts).

Masked average pooling over the embedding with the label, area-down-sampled to the embedding's grid, as weights.
Reconstructed beyond that: pooling per connected component, k prototypes by k-means, and background targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from SAMFinetuneLogic.fewshot.settings import TargetPooling

_MIN_WEIGHT = 1e-3
_KMEANS_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class TargetEmbeddings:
    """Vectors of labelled regions.

    Attributes:
        vectors: float32 (T, C).
        kinds: int64 (T,): 0 background, n the n-th class.
    """

    vectors: torch.Tensor
    kinds: torch.Tensor


def pool_targets(
    features: Sequence[torch.Tensor], fractions: Sequence[torch.Tensor], pooling: TargetPooling, prototypes: int = 4
) -> TargetEmbeddings:
    """Target embeddings of support slices.

    Args:
        features: embeddings, each (C, h, w).
        fractions: the coverage of each class, each (n + 1, h, w), background first.
        pooling: see :class:`SAMFinetuneLogic.fewshot.settings.FitSettings`.
        prototypes: k, for "prototypes".

    Returns:
        In the order of the slices; a class that is absent gives no vector.
    """
    if pooling in ("mean", "prototypes"):
        matrix = torch.cat([feature.flatten(1).T for feature in features]).float()
        weights = torch.cat([fraction.flatten(1) for fraction in fractions], 1).to(matrix)
        count = prototypes if pooling == "prototypes" else 1
        found = [(kind, vector) for kind in range(len(weights)) for vector in centres(matrix, weights[kind], count)]
    else:
        found = []
        for feature, fraction in zip(features, fractions, strict=True):
            matrix, weights = feature.flatten(1).T.float(), fraction.flatten(1).to(feature.device).float()
            for kind in range(len(weights)):
                for region in _regions(fraction[kind], pooling == "components" and kind > 0):
                    vector = _mean(matrix, region.flatten().to(matrix))
                    if vector is not None:
                        found.append((kind, vector))
    if not found:
        channels = features[0].shape[0]
        return TargetEmbeddings(torch.zeros(0, channels), torch.zeros(0, dtype=torch.long))
    kinds = torch.tensor([kind for kind, _ in found], dtype=torch.long)
    return TargetEmbeddings(torch.stack([vector for _, vector in found]), kinds)


def centres(matrix: torch.Tensor, weights: torch.Tensor, count: int) -> list[torch.Tensor]:
    """At most ``count`` weighted k-means centres (C,) of rows (N, C); started from the mean, outermost rows next."""
    mean = _mean(matrix, weights)
    if mean is None:
        return []
    used = weights > 0.5 * weights.max()
    rows, row_weights = matrix[used], weights[used]
    if count == 1 or len(rows) <= count:
        return [mean]
    chosen = [mean]
    distance = (rows - mean).square().sum(1)
    for _ in range(count - 1):
        chosen.append(rows[distance.argmax()])
        distance = torch.minimum(distance, (rows - chosen[-1]).square().sum(1))
    points = torch.stack(chosen)
    for _ in range(_KMEANS_ROUNDS):
        owner = torch.cdist(rows, points).argmin(1)
        sums = torch.zeros_like(points).index_add_(0, owner, rows * row_weights[:, None])
        totals = torch.zeros(len(points), dtype=rows.dtype, device=rows.device).index_add_(0, owner, row_weights)
        points = torch.where(totals[:, None] > 0, sums / totals[:, None].clamp(min=_MIN_WEIGHT), points)
    return list(points)


def _mean(matrix: torch.Tensor, weights: torch.Tensor) -> torch.Tensor | None:
    total = weights.sum()
    return None if total < _MIN_WEIGHT else weights @ matrix / total


def _regions(fraction: torch.Tensor, split: bool) -> list[torch.Tensor]:
    if not split:
        return [fraction]
    parts, count = ndimage.label(fraction.cpu().numpy() > 0, structure=np.ones((3, 3)))
    return [fraction * torch.from_numpy(parts == n).to(fraction) for n in range(1, count + 1)]
