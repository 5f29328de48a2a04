"""Distances between the surfaces of two masks, in 2D and 3D.

A mask's surface is the set of its boundary pixels (voxels): those with at least one neighbour through a side (face)
that lies outside of the mask; beyond the array's border lies outside. Distances run between the centres of boundary
pixels. This is the definition of MONAI's and medpy's metrics, with which the tests compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.errors import InputError

_ROUNDING = 1e-9
"""A distance of exactly the tolerance is within it, whatever the rounding of its square root."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From each boundary pixel of one mask to the surface of the other, in both directions.

    Attributes:
        forward, backward: (N,) in the unit of the spacing; infinite where the other mask is empty.
    """

    forward: np.ndarray
    backward: np.ndarray

    def hd95(self) -> float:
        """The larger one of the two directed 95th percentiles; 0 for two empty masks, infinity for one."""
        if self.forward.size == 0 and self.backward.size == 0:
            return 0.0
        if self.forward.size == 0 or self.backward.size == 0:
            return float("inf")
        return float(max(np.percentile(self.forward, 95), np.percentile(self.backward, 95)))

    def surface_dice(self, tolerance: float) -> float:
        """The share of both surfaces within ``tolerance`` of the other one; 1 for two empty masks, 0 for one."""
        total = self.forward.size + self.backward.size
        if total == 0:
            return 1.0
        if self.forward.size == 0 or self.backward.size == 0:
            return 0.0
        limit = tolerance * (1 + _ROUNDING)
        near = np.count_nonzero(self.forward <= limit) + np.count_nonzero(self.backward <= limit)
        return float(near / total)


def hd95(first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | None = None) -> float:
    """95th percentile Hausdorff distance: the larger one of the two directed 95th percentiles.

    Args:
        first, second: boolean masks of one shape, 2D or 3D.
        spacing: distance between neighbouring pixels per array axis, in mm; None measures in pixels.

    Returns:
        The distance in the unit of ``spacing``: 0 if both masks are empty, infinity if one of them is.

    Raises:
        InputError: the shapes differ, or the spacing does not fit them.
    """
    return surface_distances(first, second, spacing).hd95()


def surface_dice(
    first: np.ndarray, second: np.ndarray, tolerance: float, spacing: Sequence[float] | None = None
) -> float:
    """Normalised surface Dice: the share of both surfaces that lies within ``tolerance`` of the other one.

    Args:
        first, second: boolean masks of one shape, 2D or 3D.
        tolerance: in the unit of ``spacing``.
        spacing: distance between neighbouring pixels per array axis, in mm; None measures in pixels.

    Returns:
        A value in [0, 1]: 1 if both masks are empty, 0 if one of them is.

    Raises:
        InputError: the shapes differ, or the spacing does not fit them.
    """
    return surface_distances(first, second, spacing).surface_dice(tolerance)


def surface_distances(
    first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | None = None
) -> SurfaceDistances:
    """What both metrics are made of, for those that need several of them.

    Args:
        first, second: boolean masks of one shape, 2D or 3D.
        spacing: distance between neighbouring pixels per array axis, in mm; None measures in pixels.

    Raises:
        InputError: the shapes differ, or the spacing does not fit them.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape:
        raise InputError(f"Masks of shape {a.shape} and {b.shape} cannot be compared; bring them to one grid first.")
    sampling = (1.0,) * a.ndim if spacing is None else tuple(float(step) for step in spacing)
    if len(sampling) != a.ndim or min(sampling) <= 0:
        raise InputError(
            f"A spacing of {spacing} does not fit masks of {a.ndim} axes; give one positive step per axis."
        )
    box = ndimage.find_objects((a | b).astype(np.uint8))
    if not box:
        return SurfaceDistances(np.empty(0), np.empty(0))
    surface_a, surface_b = _surface(a[box[0]]), _surface(b[box[0]])
    return SurfaceDistances(_distances(surface_a, surface_b, sampling), _distances(surface_b, surface_a, sampling))


def _surface(mask: np.ndarray) -> np.ndarray:
    # The crop's border stands for the outside: what was cut off holds nothing of either mask.
    return mask & ~ndimage.binary_erosion(mask, border_value=0)


def _distances(surface: np.ndarray, other: np.ndarray, sampling: tuple[float, ...]) -> np.ndarray:
    if not other.any():
        return np.full(np.count_nonzero(surface), np.inf)
    return ndimage.distance_transform_edt(~other, sampling=sampling)[surface]
