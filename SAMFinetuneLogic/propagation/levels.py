"""Levels: how far inside (above 0) or outside of a structure each pixel of a slice is said to be.

Candidates of different kinds meet here. A network's level is its logit; a shape's level is the signed distance to its
outline in pixels. Both fall by about one per pixel across an edge, and both are limited to the same range, so that
their weighted mean is an outline between theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

LIMIT = 6.0
"""Levels lie within plus and minus this: beyond, nothing is more certain."""

_STEPS = 20  # stored in steps of a twentieth: 6 * 20 = 120 fits a signed byte

Bounds = tuple[int, int, int, int]
"""First and last row and column, inclusive: (row0, col0, row1, col1)."""


@dataclass(frozen=True, eq=False)
class Patch:
    """The levels of one slice where they are not ``-LIMIT``.

    Attributes:
        shape: (rows, cols) of the slice.
        row, col: where ``steps`` begins.
        steps: int8 (h, w), levels in steps of 1/20; a byte a pixel keeps a whole volume's candidates in memory.
    """

    shape: tuple[int, int]
    row: int
    col: int
    steps: np.ndarray

    @classmethod
    def of(cls, levels: np.ndarray, shape: tuple[int, int], row: int = 0, col: int = 0) -> "Patch":
        """Levels (h, w) that begin at (row, col) of a slice of ``shape``; elsewhere it is outside."""
        steps = np.rint(np.clip(levels, -LIMIT, LIMIT) * _STEPS).astype(np.int8)
        inside = steps > -int(LIMIT * _STEPS)
        rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not rows.size:
            return cls(shape, 0, 0, np.zeros((0, 0), dtype=np.int8))
        row0, col0 = int(rows[0]), int(cols[0])
        part = steps[row0 : rows[-1] + 1, col0 : cols[-1] + 1].copy()
        return cls(shape, row + row0, col + col0, part)

    @property
    def bounds(self) -> Bounds | None:
        """Of the stored part; None if all of the slice is outside."""
        if not self.steps.size:
            return None
        height, width = self.steps.shape
        return self.row, self.col, self.row + height - 1, self.col + width - 1

    def levels(self, bounds: Bounds) -> np.ndarray:
        """float32 levels of a rectangle of the slice, which may reach beyond the stored part."""
        row0, col0, row1, col1 = bounds
        result = np.full((row1 - row0 + 1, col1 - col0 + 1), -LIMIT, dtype=np.float32)
        height, width = self.steps.shape
        top, bottom = max(self.row, row0), min(self.row + height, row1 + 1)
        left, right = max(self.col, col0), min(self.col + width, col1 + 1)
        if top < bottom and left < right:
            part = self.steps[top - self.row : bottom - self.row, left - self.col : right - self.col]
            result[top - row0 : bottom - row0, left - col0 : right - col0] = part.astype(np.float32) / _STEPS
        return result

    def mask(self) -> np.ndarray:
        """Boolean (rows, cols): the pixels inside."""
        result = np.zeros(self.shape, dtype=bool)
        height, width = self.steps.shape
        result[self.row : self.row + height, self.col : self.col + width] = self.steps > 0
        return result

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(np.count_nonzero(self.steps > 0))


def nothing(shape: tuple[int, int]) -> Patch:
    """The opinion that the structure is absent from the slice."""
    return Patch(shape, 0, 0, np.zeros((0, 0), dtype=np.int8))


def union_bounds(patches: Sequence[Patch]) -> Bounds | None:
    """The rectangle that holds the stored parts of all patches; None if there are none."""
    bounds = np.array([patch.bounds for patch in patches if patch.bounds is not None]).reshape(-1, 4)
    if not len(bounds):
        return None
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def patch_dice(first: Patch, second: Patch) -> float:
    """Dice of the two masks; 1 if both are empty."""
    bounds = union_bounds([first, second])
    if bounds is None:
        return 1.0
    a, b = first.levels(bounds) > 0, second.levels(bounds) > 0
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 1.0 if total == 0 else 2.0 * float(np.count_nonzero(a & b)) / total


def signed_distance(mask: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Distance of each pixel to the outline, positive inside, in pixels of the slice's finer direction.

    The slice's border does not count as outline: a structure that the image cuts off is not thinner there.

    Args:
        mask: boolean (rows, cols), with at least one pixel inside.
        spacing: (row_mm, col_mm).

    Returns:
        float32 (rows, cols).
    """
    sampling = np.array(spacing) / min(spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=sampling)
    if mask.all():
        return np.full(mask.shape, float(max(mask.shape)), dtype=np.float32)
    inside = ndimage.distance_transform_edt(mask, sampling=sampling)
    return (inside - outside).astype(np.float32)
