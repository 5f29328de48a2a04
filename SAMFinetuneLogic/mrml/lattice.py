"""Masks brought from one voxel grid to another, as blocks: a segment's labelmap is rarely as large as its volume.

Grids often differ by a shift or by the direction of an axis only: Slicer crops labelmaps, and when it reads a
left-handed volume from a file it turns the order of the slices around. Such moves are exact.
"""

from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex
from SAMFinetuneLogic.imaging.geometry import inverse_affine, transform_points
from SAMFinetuneLogic.imaging.resampling import nearest_voxels

_TOLERANCE = 0.01  # voxels, as in imaging.resampling.same_grid


@dataclass(frozen=True, eq=False)
class Block:
    """A part of a grid that may begin anywhere, also at negative indices.

    Attributes:
        voxels: (k, j, i), boolean, or the values of a labelmap.
        start: (3,) int64, the index (i, j, k) of its first voxel.
    """

    voxels: np.ndarray
    start: np.ndarray

    @property
    def stop(self) -> np.ndarray:
        """(3,) int64, one beyond the index (i, j, k) of its last voxel."""
        return self.start + np.array(self.voxels.shape[::-1])

    @property
    def empty(self) -> bool:
        """Whether no voxel is set."""
        return not self.voxels.any()

    def cut(self, start: np.ndarray, stop: np.ndarray, value: int | None = None) -> "Block":
        """A copy of the voxels from ``start`` to before ``stop`` (i, j, k): cut off, or filled up with 0.

        Args:
            value: copy whether the voxels are this one.
        """
        size = np.maximum(stop - start, 0)
        result = np.zeros(tuple(size[::-1]), dtype=self.voxels.dtype if value is None else bool)
        low, high = np.maximum(self.start, start), np.minimum(self.stop, stop)
        if (low < high).all():
            found, there = self.voxels[_slices(low - self.start, high - self.start)], _slices(low - start, high - start)
            if value is None:
                result[there] = found
            else:
                np.equal(found, value, out=result[there])
        return Block(result, np.asarray(start, dtype=np.int64))

    def cropped(self) -> "Block":
        """The smallest block around what is set; of size 0 if nothing is."""
        if self.empty:
            return Block(np.zeros((0, 0, 0), dtype=bool), self.start)
        spans = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            found = np.flatnonzero(self.voxels.any(axis=others))
            spans.append((int(found[0]), int(found[-1]) + 1))
        low = np.array([low for low, _ in reversed(spans)])
        return Block(self.voxels[tuple(slice(*span) for span in spans)], self.start + low)


def move_block(block: Block, matrix: np.ndarray, target: np.ndarray) -> Block:
    """A block of one grid as a block of another: each voxel takes the value of the nearest voxel in space.

    Args:
        block: on the grid of ``matrix``.
        matrix, target: (4, 4) from the indices (i, j, k) of the old and the new grid to one common space.

    Returns:
        the same voxels if the grids differ by a whole shift and by directions of axes; else all voxels of the new grid
        within the old block.
    """
    exact = renumber_block(block, matrix, target)
    if exact is not None:
        return exact
    there = transform_points(inverse_affine(target) @ matrix, _corners(block.start - 0.5, block.stop - 0.5))
    start = np.floor(there.min(axis=0)).astype(np.int64)
    stop = np.ceil(there.max(axis=0)).astype(np.int64) + 1
    return nearest_block(block, matrix, target, start, stop)


def nearest_block(block: Block, matrix: np.ndarray, target: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Block:
    """The voxels of another grid from ``start`` to before ``stop`` (i, j, k), each with the value of the nearest one.

    Args:
        block, matrix, target: as for :func:`move_block`.
    """
    count_i, count_j, count_k = (int(n) for n in np.maximum(stop - start, 0))
    if not block.voxels.size:
        return Block(np.zeros((count_k, count_j, count_i), dtype=block.voxels.dtype), start)
    here, there = shifted(matrix, block.start), shifted(target, start)
    return Block(nearest_voxels(block.voxels, here, (count_k, count_j, count_i), there)[0], start)


def renumber_block(block: Block, matrix: np.ndarray, target: np.ndarray) -> Block | None:
    """The same voxels, not copied, on a grid that differs by a shift and by directions of axes; None if it is another.

    Args:
        matrix, target: as for :func:`move_block`.
    """
    if not block.voxels.size:
        return block
    low, high = block.start, block.stop - 1
    corners = _corners(low, high)
    mapping = inverse_affine(target) @ matrix
    there = transform_points(mapping, corners.astype(float))
    signs = np.where(np.diag(mapping)[:3] < 0, -1, 1)
    shift = np.rint(there[0] - signs * corners[0])
    if np.abs(there - signs * corners - shift).max() > _TOLERANCE:
        return None
    turned = block.voxels[tuple(slice(None, None, sign) for sign in signs[::-1].tolist())]
    return Block(turned, (np.minimum(signs * low, signs * high) + shift).astype(np.int64))


Flips = tuple[bool, bool, bool]
"""Whether the axes i, j and k run the other way."""


def flips_between(
    old: np.ndarray, old_size: tuple[int, int, int], new: np.ndarray, new_size: tuple[int, int, int]
) -> Flips | None:
    """How two grids differ that hold the same voxels at the same places; None if they do not.

    Args:
        old, new: (4, 4) from the indices (i, j, k) to one common space.
        old_size, new_size: along i, j and k.
    """
    try:
        mapping = inverse_affine(new) @ old
    except np.linalg.LinAlgError:
        return None
    if old_size != new_size or not np.isfinite(mapping).all():
        return None
    last = np.array(old_size) - 1.0
    flips = np.diag(mapping)[:3] < 0
    corners = np.array(list(np.ndindex(2, 2, 2))) * last
    expected = np.where(flips, last - corners, corners)
    if np.abs(transform_points(mapping, corners) - expected).max() > _TOLERANCE:
        return None
    i, j, k = (bool(flip) for flip in flips)
    return i, j, k


def flip_slice(entry: SliceIndex, flips: Flips, size: tuple[int, int, int]) -> SliceIndex:
    """The same slice on a grid whose axes run the other way."""
    column = AXES.index(entry.axis)
    return SliceIndex(entry.axis, size[column] - 1 - entry.index) if flips[column] else entry


def flip_mask(mask: np.ndarray, axis: Axis, flips: Flips) -> np.ndarray:
    """The pixels (rows, cols) of a slice along ``axis`` on a grid whose axes run the other way."""
    rows, cols = (flips[column] for column in (2, 1, 0) if column != AXES.index(axis))
    return mask[:: -1 if rows else 1, :: -1 if cols else 1]


def shifted(matrix: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The (4, 4) matrix of a block: of voxels counted from ``start`` (i, j, k) on."""
    result = np.array(matrix, dtype=np.float64)
    result[:3, 3] += result[:3, :3] @ start
    return result


def _corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.array([[i, j, k] for i in (low[0], high[0]) for j in (low[1], high[1]) for k in (low[2], high[2])])


def _slices(start: np.ndarray, stop: np.ndarray) -> tuple[slice, ...]:
    """For an array (k, j, i)."""
    return tuple(slice(int(low), int(high)) for low, high in zip(start[::-1], stop[::-1], strict=True))
