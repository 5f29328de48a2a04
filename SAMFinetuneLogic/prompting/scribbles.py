"""Scribbles reduced to what SAM understands: a few well-spread points."""

from itertools import pairwise

import numpy as np

SCRIBBLE_POINTS = 4
"""At most so many points stand for a scribble on one slice: SAM was trained with few clicks a mask."""


def stroke_pixels(stroke: np.ndarray) -> np.ndarray:
    """The voxels that a polyline passes through.

    Args:
        stroke: (N, 3) fractional (slice index, row, column), N >= 1, joined by straight lines.

    Returns:
        Whole (slice index, row, column), (M, 3) int64, unique and sorted.
    """
    pieces = [stroke[:1]]
    for start, end in pairwise(stroke):
        steps = max(1, int(np.ceil(np.abs(end - start).max() * 2)))  # half a voxel a step leaves no gap
        fractions = np.arange(1, steps + 1)[:, None] / steps
        pieces.append(start + fractions * (end - start))
    return np.unique(np.floor(np.concatenate(pieces) + 0.5).astype(np.int64), axis=0)


def spread_points(pixels: np.ndarray, count: int = SCRIBBLE_POINTS) -> np.ndarray:
    """Up to ``count`` of the pixels, far from each other (farthest point sampling).

    The first is the pixel nearest to the centroid, so that a dot gives its centre; then always the pixel that is
    farthest from all those chosen. Ties go to the first in the order given.

    Args:
        pixels: (M, 2) rows and columns, M >= 1.

    Returns:
        (min(count, M), 2), of the input's type.
    """
    positions = pixels.astype(np.float64)
    chosen = [int(np.argmin(((positions - positions.mean(axis=0)) ** 2).sum(axis=1)))]
    distance = ((positions - positions[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count and distance.max() > 0:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((positions - positions[chosen[-1]]) ** 2).sum(axis=1))
    return pixels[chosen]
