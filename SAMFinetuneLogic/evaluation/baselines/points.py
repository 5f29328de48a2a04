"""What clicks give without a model. Each function takes a uint8 slice (rows, cols) and clicks, and gives a mask.

A single click does not say where the structure ends: the methods that need seeds of the background take the slice's
border for it, except where a positive click lies on it.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.evaluation.baselines.optional import optional_module
from SAMFinetuneLogic.evaluation.baselines.walker import BACKGROUND, STRUCTURE, walk
from SAMFinetuneLogic.metrics import Click

_SEED_RADIUS = 2.0
_SMOOTHING = 1.0
_WALKER_SIDE = 128


def disc(shape: tuple[int, int], clicks: Sequence[Click], radius: float) -> np.ndarray:
    """A disc of ``radius`` pixels about each click, in the clicks' order: a negative one takes away."""
    mask = np.zeros(shape, dtype=bool)
    for click in clicks:
        _draw(mask, click, radius, click.positive)
    return mask


def watershed(image: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
    """scikit-image's marker-based watershed on the slice's gradient magnitude (Gaussian, one pixel)."""
    segmentation = optional_module("skimage.segmentation")
    gradient = ndimage.gaussian_gradient_magnitude(image.astype(np.float32), _SMOOTHING)
    return segmentation.watershed(gradient, _seeds(image.shape, clicks)) == STRUCTURE


def random_walker(image: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
    """scikit-image's random walker from the clicks, on at most 128 pixels along the slice's longer side."""
    scale = min(1.0, _WALKER_SIDE / max(image.shape))
    if scale == 1.0:
        return walk(image, _seeds(image.shape, clicks))
    small = ndimage.zoom(image, scale, order=1, grid_mode=True, mode="nearest")
    # For each row and column of the slice, the one of the small image that holds its centre.
    rows, cols = (
        ((np.arange(size) + 0.5) * limit / size).astype(int)
        for size, limit in zip(image.shape, small.shape, strict=True)
    )
    moved = [Click(int(rows[click.row]), int(cols[click.col]), click.positive) for click in clicks]
    return walk(small, _seeds(small.shape, moved))[np.ix_(rows, cols)]


def _seeds(shape: tuple[int, ...], clicks: Sequence[Click]) -> np.ndarray:
    seeds = np.zeros(shape, dtype=np.int32)
    seeds[[0, -1], :] = seeds[:, [0, -1]] = BACKGROUND
    for click in clicks:
        _draw(seeds, click, _SEED_RADIUS, STRUCTURE if click.positive else BACKGROUND)
    return seeds


def _draw(canvas: np.ndarray, click: Click, radius: float, value: int) -> None:
    reach = int(radius)
    top, left = max(click.row - reach, 0), max(click.col - reach, 0)
    part = canvas[top : click.row + reach + 1, left : click.col + reach + 1]
    rows, cols = np.ogrid[: part.shape[0], : part.shape[1]]
    part[(rows + top - click.row) ** 2 + (cols + left - click.col) ** 2 <= radius**2] = value
