"""The simulated user: where a person who knows the structure would click or draw a box.

All positions are (row, col) pixels of one slice, integers at pixel centres. Ideal clicks lie where the Euclidean
distance to the outside is largest, the image's border counting as outside; the first pixel in row-major order wins a
tie, so that every choice is deterministic. The noisy user misses the ideal position by a normal error whose standard
deviation is a fraction of the side of the structure's bounding box, per axis.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.errors import InputError

NOISE = 0.05
"""Standard deviation of the noisy user's error, as a fraction of the structure's box side."""

Box = tuple[int, int, int, int]
"""Rows and columns of the first and last pixel, both inside: (row0, col0, row1, col1)."""


@dataclass(frozen=True)
class Click:
    """A click at the centre of a pixel: on the structure (positive), or on what does not belong to it."""

    row: int
    col: int
    positive: bool = True


def tight_box(mask: np.ndarray) -> Box:
    """The smallest box that holds ``mask`` (rows, cols).

    Raises:
        InputError: the mask is empty.
    """
    mask = np.asarray(mask, dtype=bool)
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        raise InputError("An empty mask has no box; choose a slice on which the structure is present.")
    return int(rows[0]), int(cols[0]), int(rows[-1]), int(cols[-1])


def first_click(mask: np.ndarray) -> Click:
    """A positive click at the maximum of the Euclidean distance transform of ``mask`` (rows, cols).

    Raises:
        InputError: the mask is empty.
    """
    return _centre(np.asarray(mask, dtype=bool), positive=True)


def next_click(mask: np.ndarray, prediction: np.ndarray) -> Click | None:
    """The corrective click: the centre of the largest connected error of ``prediction``, None if there is no error.

    A missed part of the structure gets a positive click, a surplus a negative one. Errors are connected through
    pixel sides; of equally large ones a missed part goes first, then the first in row-major order.

    Args:
        mask, prediction: boolean (rows, cols).
    """
    component, positive = _largest_error(mask, prediction)
    return None if component is None else _centre(component, positive)


def noisy_first_click(mask: np.ndarray, rng: np.random.Generator, noise: float = NOISE) -> Click:
    """:func:`first_click` by the noisy user; it stays inside the structure."""
    mask = np.asarray(mask, dtype=bool)
    return _moved(first_click(mask), mask, mask, rng, noise)


def noisy_next_click(
    mask: np.ndarray, prediction: np.ndarray, rng: np.random.Generator, noise: float = NOISE
) -> Click | None:
    """:func:`next_click` by the noisy user.

    The click stays inside the error that it corrects: thus inside the structure if positive, outside it if negative.
    """
    component, positive = _largest_error(mask, prediction)
    if component is None:
        return None
    return _moved(_centre(component, positive), component, mask, rng, noise)


def noisy_box(mask: np.ndarray, rng: np.random.Generator, noise: float = NOISE) -> Box:
    """:func:`tight_box` by the noisy user: each of its four sides is off by a normal error of its own.

    The box stays in the image, and is at least two pixels wide and high where the image is.
    """
    mask = np.asarray(mask, dtype=bool)
    row0, col0, row1, col1 = tight_box(mask)
    errors = rng.normal(size=4) * noise
    rows = _side(row0 + errors[0] * (row1 - row0 + 1), row1 + errors[2] * (row1 - row0 + 1), mask.shape[0])
    cols = _side(col0 + errors[1] * (col1 - col0 + 1), col1 + errors[3] * (col1 - col0 + 1), mask.shape[1])
    return rows[0], cols[0], rows[1], cols[1]


def _side(start: float, stop: float, size: int) -> tuple[int, int]:
    low, high = sorted(int(np.clip(round(value), 0, size - 1)) for value in (start, stop))
    if low == high:
        return (low, high + 1) if high + 1 < size else (max(low - 1, 0), high)
    return low, high


def _centre(region: np.ndarray, positive: bool) -> Click:
    row0, col0, row1, col1 = tight_box(region)
    # Nothing outside of the region's box is nearer than the box's own rim: the crop gives exact distances, and fast.
    distance = ndimage.distance_transform_edt(np.pad(region[row0 : row1 + 1, col0 : col1 + 1], 1))
    row, col = np.unravel_index(int(distance.argmax()), distance.shape)
    return Click(int(row) - 1 + row0, int(col) - 1 + col0, positive)


def _largest_error(mask: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray | None, bool]:
    mask, prediction = np.asarray(mask, dtype=bool), np.asarray(prediction, dtype=bool)
    if mask.shape != prediction.shape:
        raise InputError(f"A prediction of shape {prediction.shape} does not fit a mask of shape {mask.shape}.")
    errors = mask ^ prediction
    if not errors.any():
        return None, True
    # All that counts lies in the box of the errors, which is much smaller than the slice.
    row0, col0, row1, col1 = tight_box(errors)
    part = np.s_[row0 : row1 + 1, col0 : col1 + 1]
    missed, missed_size = _largest_component(mask[part] & ~prediction[part])
    surplus, surplus_size = _largest_component(prediction[part] & ~mask[part])
    component = np.zeros_like(mask)
    component[part] = missed if missed_size >= surplus_size else surplus
    return component, missed_size >= surplus_size


def _largest_component(region: np.ndarray) -> tuple[np.ndarray, int]:
    labels, count = ndimage.label(region)
    if count == 0:
        return region, 0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    return labels == largest, int(sizes[largest])


def _moved(click: Click, allowed: np.ndarray, structure: np.ndarray, rng: np.random.Generator, noise: float) -> Click:
    """Draw a pixel of ``allowed`` with the probability of a normal error about ``click``."""
    row0, col0, row1, col1 = tight_box(structure)
    rows, cols = np.nonzero(allowed)
    exponent = ((rows - click.row) / (noise * (row1 - row0 + 1))) ** 2
    exponent += ((cols - click.col) / (noise * (col1 - col0 + 1))) ** 2
    weights = np.exp(-0.5 * exponent)  # the click itself is allowed and weighs 1: the sum is never 0
    drawn = int(rng.choice(rows.size, p=weights / weights.sum()))
    return Click(int(rows[drawn]), int(cols[drawn]), click.positive)
