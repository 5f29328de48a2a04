"""Small islands in the result that hang together with nothing that was drawn: taken away, as a user would.

Ways of filling in that look at gray values find specks of the same gray elsewhere. On the development cases they hardly
change Dice, but each of them has to be looked at and erased.
"""

from collections.abc import Collection, Iterator

import numpy as np
from scipy import ndimage

SHARE = 0.05
"""Islands of less than this part of the segment's voxels are taken away; a larger one may be a part of its own."""
_TOUCHING = np.ones((3, 3), dtype=bool)
_SHIFTS = [(row, col) for row in (-1, 0, 1) for col in (-1, 0, 1)]


def remove_islands(by_slice: np.ndarray, value: int, annotated: Collection[int]) -> None:
    """Set small islands of a segment to 0, in place.

    Voxels hang together with all that touch them, by a corner too. What hangs together with an annotated slice stays.
    Slice by slice, so that it takes no more memory for a large volume.

    Args:
        by_slice: labels (slice, rows, cols).
        value: of the segment.
        annotated: slices that are as the user wants them.
    """
    by_slice = _around(by_slice, value)
    sizes: list[int] = [0]
    anchored: list[bool] = [True]
    joined = _Joined()
    parts: dict[int, int] = {}
    before: tuple[int, np.ndarray] | None = None
    for index, numbers, count in _numbered(by_slice, value):
        parts[index] = offset = len(sizes) - 1
        sizes += np.bincount(numbers.ravel(), minlength=count + 1)[1:].tolist()
        anchored += [index in annotated] * count
        shifted = np.where(numbers > 0, numbers + offset, 0)
        if before is not None and before[0] == index - 1:
            for one, other in _neighbours(before[1], shifted):
                joined.join(one, other)
        before = index, shifted
    roots = np.array([joined.root(number) for number in range(len(sizes))])
    volume = np.bincount(roots, weights=sizes, minlength=len(sizes))
    held = np.bincount(roots, weights=anchored, minlength=len(sizes)) > 0
    stays = (held | (volume >= SHARE * sum(sizes)))[roots]
    if stays.all():
        return
    for index, numbers, _ in _numbered(by_slice, value):
        gone = ~stays[np.where(numbers > 0, numbers + parts[index], 0)]
        if gone.any():
            by_slice[index][gone] = 0


class _Joined:
    """Numbers that belong together (union-find)."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def root(self, number: int) -> int:
        while (parent := self._parents.get(number, number)) != number:
            self._parents[number] = self._parents.get(parent, parent)
            number = parent
        return number

    def join(self, one: int, other: int) -> None:
        self._parents[self.root(one)] = self.root(other)


def _around(by_slice: np.ndarray, value: int) -> np.ndarray:
    """The part, a view, in which the segment lies."""
    rows, cols = (np.zeros(count, dtype=bool) for count in by_slice.shape[1:])
    for pixels in by_slice:
        mask = pixels == value
        rows |= mask.any(axis=1)
        cols |= mask.any(axis=0)
    (row0, row1), (col0, col1) = (np.flatnonzero(there)[[0, -1]] if there.any() else (0, 0) for there in (rows, cols))
    return by_slice[:, row0 : row1 + 1, col0 : col1 + 1]


def _numbered(by_slice: np.ndarray, value: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """Of each slice with the segment: its index, its parts numbered from 1 (rows, cols), and how many there are."""
    for index, pixels in enumerate(by_slice):
        mask = pixels == value
        if mask.any():
            numbers, count = ndimage.label(mask, _TOUCHING)
            yield index, numbers, int(count)


def _neighbours(one: np.ndarray, other: np.ndarray) -> set[tuple[int, int]]:
    """The pairs of numbers that touch on two slices, one above the other; 0 is nothing."""
    rows, cols = one.shape
    base = int(other.max()) + 1
    found: set[int] = set()
    for down, right in _SHIFTS:
        a = one[max(down, 0) : rows + min(down, 0), max(right, 0) : cols + min(right, 0)]
        b = other[max(-down, 0) : rows + min(-down, 0), max(-right, 0) : cols + min(-right, 0)]
        pairs = np.where((a > 0) & (b > 0), a.astype(np.int64) * base + b, 0)
        # Along a row the same pair follows itself mostly.
        changed = pairs[:, 1:] != pairs[:, :-1]
        found.update(np.unique(np.concatenate([pairs[:, :1].ravel(), pairs[:, 1:][changed]])).tolist())
    found.discard(0)
    return {divmod(pair, base) for pair in found}
