"""The three axes of a voxel grid, and the slices along them."""

from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

from SAMFinetuneLogic.errors import GeometryError, InputError

Axis = Literal["i", "j", "k"]

AXES: tuple[Axis, ...] = ("i", "j", "k")
"""In the order of the columns of an IJK-to-RAS matrix."""

ANATOMICAL_AXES = ("sagittal", "coronal", "axial")
"""Names of the slices perpendicular to R, A and S, in this order."""


@dataclass(frozen=True)
class SliceIndex:
    """One slice: the voxel axis that it is perpendicular to, and its index along that axis."""

    axis: Axis
    index: int

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise GeometryError(f"Unknown axis {self.axis!r}; use one of {', '.join(AXES)}.")


def array_axis(axis: Axis) -> int:
    """The numpy axis of a (k, j, i) array that ``axis`` names: k -> 0, j -> 1, i -> 2."""
    return 2 - AXES.index(axis)


def resolve_axis(name: str, ijk_to_ras: np.ndarray) -> Axis:
    """The voxel axis that ``name`` means on this grid.

    Args:
        name: ``i``, ``j``, ``k``, or ``axial``, ``coronal``, ``sagittal`` in any case.
        ijk_to_ras: (4, 4) affine.

    An anatomical name gives the voxel axis whose direction is nearest to the normal of that plane. The three
    names always give three different axes, also on a grid that is 45 degrees oblique: among the six one-to-one
    assignments, the one with the largest sum of absolute cosines.

    Raises:
        InputError: ``name`` is none of these.
    """
    wanted = name.strip().lower()
    for axis in AXES:
        if wanted == axis:
            return axis
    if wanted not in ANATOMICAL_AXES:
        valid = ", ".join((*AXES, *reversed(ANATOMICAL_AXES)))
        raise InputError(f"Unknown axis {name!r}; use one of {valid}.")
    columns = np.asarray(ijk_to_ras, dtype=np.float64)[:3, :3]
    cosines = np.abs(columns) / np.linalg.norm(columns, axis=0)
    assignment = max(permutations(range(3)), key=lambda order: sum(cosines[row, order[row]] for row in range(3)))
    return AXES[assignment[ANATOMICAL_AXES.index(wanted)]]
