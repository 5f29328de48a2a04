"""Where to look closer: the object on a slice, the crop around it, and what lies in the crop."""

from math import ceil, log2

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.metrics import box_iou, tight_box
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.slice_image import Crop

MARGIN = 2.0
"""The crop's side is at least so many times the object's: SAM sees the surroundings, and a mask can grow."""
MIN_CROP_PIXELS = 32
"""Least side of such a crop, in pixels of the finer direction: below, there is nothing more to see."""

BOX_MARGIN = 1.25
"""The side of the crop around a drawn box: nothing of the structure lies outside, so that a little is enough."""

OUTSIDE_LOGIT = -7.0
"""Logit outside of a crop, at most: a probability of 0.001."""

Bounds = tuple[int, int, int, int]
"""First and last row and column, inclusive: (row0, col0, row1, col1)."""


def object_bounds(mask: np.ndarray, prompts: SlicePrompts) -> Bounds | None:
    """Bounds of what the prompts mean: the box if there is one, else the mask's clicked parts and the clicks.

    Parts of the mask that no positive point lies on are taken for mistakes; if none is clicked, the largest
    counts. None for an empty mask without a box.
    """
    if len(prompts.boxes):
        low, high = prompts.boxes[:, :2].min(axis=0), prompts.boxes[:, 2:].max(axis=0)
        return int(low[0]), int(low[1]), ceil(high[0]), ceil(high[1])
    parts, count = ndimage.label(mask)
    if not count:
        return None
    clicks = click_pixels(prompts.points[prompts.labels == 1], mask.shape)
    clicked = np.unique(parts[clicks[:, 0], clicks[:, 1]])
    clicked = clicked[clicked > 0]
    if not len(clicked):
        clicked = np.array([np.bincount(parts.reshape(-1))[1:].argmax() + 1])
    positions = np.concatenate([np.argwhere(np.isin(parts, clicked)), clicks])
    (row0, col0), (row1, col1) = positions.min(axis=0), positions.max(axis=0)
    return int(row0), int(col0), int(row1), int(col1)


def click_pixels(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels (N, 2) of a slice of ``shape`` that points (N, 2) lie on, (row, col); at the edge those next to it."""
    return np.clip(np.floor(points + 0.5).astype(int), 0, np.array(shape) - 1)


def clicks_honoured(mask: np.ndarray, points: np.ndarray, labels: np.ndarray) -> int:
    """How many clicks agree with a mask (rows, cols): positive ones lie in it, negative ones do not.

    Args:
        mask: boolean.
        points: (N, 2), (row, col).
        labels: (N,), 1 inside and 0 outside of the structure.
    """
    pixels = click_pixels(points, mask.shape)
    return int(np.count_nonzero(mask[pixels[:, 0], pixels[:, 1]] == (labels == 1)))


def box_pixels(box: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last pixel (row, col) of a box (row0, col0, row1, col1) on a slice of ``shape``."""
    limits = np.array(shape) - 1
    first, last = (np.floor(np.asarray(corner) + 0.5).astype(int) for corner in (box[:2], box[2:]))
    return np.clip(first, 0, limits), np.clip(last, 0, limits)


def extent_iou(mask: np.ndarray, box: np.ndarray) -> float:
    """IoU of the extent of a mask (rows, cols) and a box (row0, col0, row1, col1); 0 for an empty mask."""
    return box_iou(np.array(tight_box(mask)), box) if mask.any() else 0.0


def crop_around(bounds: Bounds, shape: tuple[int, int], spacing: tuple[float, float], margin: float = MARGIN) -> Crop:
    """The crop of a slice around an object, square in mm where the slice is large enough.

    Sides grow in steps of a factor sqrt(2), and positions in steps of an eighth of the side, so that one more
    click, which changes the mask a little, finds the crop's embedding in the cache.

    Args:
        bounds: of the object.
        shape: (rows, cols) of the slice.
        spacing: (row_mm, col_mm).
        margin: how many times the object's longer side the crop's is, at least.
    """
    unit = min(spacing)
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    side = margin * float(((high - low + 1) * np.array(spacing)).max()) / unit
    side = MIN_CROP_PIXELS * 2 ** (ceil(2 * log2(max(1.0, side / MIN_CROP_PIXELS)) - 1e-9) / 2)
    lengths = np.maximum(np.round(side * unit / np.array(spacing)).astype(int), high - low + 3)
    lengths = np.minimum(lengths, shape)
    step = np.maximum(1, lengths // 8)
    origin = np.round(((low + high + 1 - lengths) / 2) / step).astype(int) * step
    origin = np.clip(origin, 0, np.array(shape) - lengths)
    return Crop(int(origin[0]), int(origin[1]), int(lengths[0]), int(lengths[1]))


def crop_around_box(box: np.ndarray, shape: tuple[int, int], spacing: tuple[float, float]) -> Crop:
    """The crop of a slice around a drawn box, square in mm where the slice is large enough.

    Unlike the crop around an answer, which changes from click to click, it fits closely.

    Args:
        box: (row0, col0, row1, col1), pixels inclusive.
        shape: (rows, cols) of the slice.
        spacing: (row_mm, col_mm).
    """
    low, high = box_pixels(box, shape)
    side = BOX_MARGIN * float(((high - low + 1) * np.array(spacing)).max())
    lengths = np.maximum(np.round(side / np.array(spacing)).astype(int), high - low + 3)
    lengths = np.minimum(lengths, shape)
    origin = np.clip((low + high + 1 - lengths) // 2, 0, np.array(shape) - lengths)
    return Crop(int(origin[0]), int(origin[1]), int(lengths[0]), int(lengths[1]))


def crop_around_click(point: np.ndarray, share: float, shape: tuple[int, int], spacing: tuple[float, float]) -> Crop:
    """The crop of a slice around a click, square in mm where the slice is large enough.

    Args:
        point: (row, col) in the slice's pixels.
        share: the crop's side as a share of the slice's longer one, both in mm.
        shape: (rows, cols) of the slice.
        spacing: (row_mm, col_mm).
    """
    side = share * max(np.multiply(shape, spacing))
    lengths = np.minimum(np.maximum(np.round(side / np.array(spacing)).astype(int), 1), shape)
    origin = np.clip(np.round(point - (lengths - 1) / 2).astype(int), 0, np.array(shape) - lengths)
    return Crop(int(origin[0]), int(origin[1]), int(lengths[0]), int(lengths[1]))


def into_crop(prompts: SlicePrompts, crop: Crop) -> SlicePrompts:
    """Points and boxes in the crop's pixels; points outside of it are left out."""
    origin, lengths = np.array([crop.row, crop.col]), np.array([crop.rows, crop.cols])
    points = prompts.points - origin
    inside = ((points >= -0.5) & (points < lengths - 0.5)).all(axis=1)
    boxes = np.clip(prompts.boxes - np.tile(origin, 2), 0, np.tile(lengths - 1, 2))
    return SlicePrompts(points[inside], prompts.labels[inside], boxes)


def out_of_crop(logits: np.ndarray, crop: Crop, shape: tuple[int, int]) -> np.ndarray:
    """Logits (n, rows, cols) of a crop on the slice of ``shape``: (n, *shape), float32."""
    placed = np.full((len(logits), *shape), OUTSIDE_LOGIT, dtype=np.float32)
    placed[:, *crop.slices] = logits
    return placed


def touches_inner_sides(mask: np.ndarray, crop: Crop, shape: tuple[int, int]) -> list[bool]:
    """Whether a mask (rows, cols) of the crop touches each of those sides that lie within the slice of ``shape``."""
    inner_sides = [
        mask[0] if crop.row > 0 else None,
        mask[-1] if crop.row + crop.rows < shape[0] else None,
        mask[:, 0] if crop.col > 0 else None,
        mask[:, -1] if crop.col + crop.cols < shape[1] else None,
    ]
    return [bool(side.any()) for side in inner_sides if side is not None]
