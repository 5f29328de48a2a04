"""The part of every slice in which a structure is looked for: a box around what is drawn, and a margin."""

from collections.abc import Iterable

import numpy as np

from SAMFinetuneLogic.metrics import tight_box
from SAMFinetuneLogic.propagation.levels import Bounds


def box_around(masks: Iterable[np.ndarray]) -> Bounds:
    """The rectangle that holds all masks (boolean, rows x cols), of which one at least must not be empty."""
    boxes = np.array([tight_box(mask) for mask in masks if mask.any()])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def sides_of(bounds: Bounds) -> tuple[int, int]:
    """(rows, cols)."""
    return bounds[2] - bounds[0] + 1, bounds[3] - bounds[1] + 1


def widened(bounds: Bounds, margin: tuple[int, int], shape: tuple[int, int]) -> Bounds:
    """A rectangle with a margin of (rows, cols) on each side, within slices of ``shape``."""
    return (
        max(bounds[0] - margin[0], 0),
        max(bounds[1] - margin[1], 0),
        min(bounds[2] + margin[0], shape[0] - 1),
        min(bounds[3] + margin[1], shape[1] - 1),
    )


def surroundings(masks: Iterable[np.ndarray], shape: tuple[int, int], share: float, least: int) -> Bounds:
    """Around all masks, with a margin of ``share`` of the box's side, at least ``least`` pixels."""
    box = box_around(masks)
    rows, cols = (max(least, round(share * side)) for side in sides_of(box))
    return widened(box, (rows, cols), shape)
