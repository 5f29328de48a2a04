"""Shape-based interpolation: the outline alone, without the image.

Between two drawn slices the signed distances are interpolated linearly (Raya and Udupa, "Shape-based interpolation of
multidimensional objects", IEEE TMI 1990). Towards a slice on which the structure is known, or expected, to have
vanished, the drawn outline shrinks as a rounded end does: by its inner radius times 1 - sqrt(1 - t), where t runs from
0 to 1. This end is our own choice; on the development cases the square root beat a linear and an elliptic decrease.
"""

from collections.abc import Mapping
from math import sqrt
from typing import ClassVar

import numpy as np

from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.levels import Bounds, Patch, nothing, signed_distance
from SAMFinetuneLogic.propagation.regions import box_around, widened
from SAMFinetuneLogic.propagation.reliability import ErrorCurve

REACH = 12
"""No outline leaves the box of all drawn ones by more than so many pixels."""


class InterpolationCandidate:
    """Interpolates the outline.

    Args:
        extents: of each segment by its value; None holds the nearest drawn outline constant outwards, in all slices.
    """

    name: ClassVar[str] = "interpolation"
    of_network: ClassVar[bool] = False
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.1, 0.6)

    def __init__(self, extents: Mapping[int, Extent] | None = None) -> None:
        self._extents = extents

    def fit(self, annotations: Annotations) -> "InterpolatedOutlines":
        return InterpolatedOutlines(annotations, self._extents)


class InterpolatedOutlines:
    """The outlines between and beyond annotated slices."""

    def __init__(self, annotations: Annotations, extents: Mapping[int, Extent] | None) -> None:
        self._annotations = annotations
        self._extents = extents
        self._bounds: dict[int, Bounds] = {}
        self._distances: dict[tuple[int, int], np.ndarray] = {}

    def predict(self, value: int, index: int) -> Patch | None:
        if not self._annotations.present(value):
            return None
        found = self.level(value, index)
        if found is None:
            return nothing(self._annotations.shape)
        bounds, level = found
        return Patch.of(level, self._annotations.shape, bounds[0], bounds[1])

    def level(self, value: int, index: int) -> tuple[Bounds, np.ndarray] | None:
        """The segment's region and, in it, the interpolated signed distance, not limited; None where it is absent."""
        below, above = self._annotations.neighbours(value, index)
        low, high = self._drawn(value, below), self._drawn(value, above)
        if low is not None and high is not None:
            assert below is not None and above is not None
            share = (index - below) / (above - below)
            return self.region(value), (1 - share) * low + share * high
        drawn = low if low is not None else high
        if drawn is None:
            return None
        known = below if low is not None else above
        assert known is not None
        end = self._end(value, low is not None, above if low is not None else below)
        if end is None:
            return self.region(value), drawn
        done = (index - known) / (end - known)
        if done >= 1:
            return None
        return self.region(value), drawn - float(drawn.max()) * (1 - sqrt(1 - done))

    def distance(self, value: int, index: int) -> float:
        return self._annotations.distance(value, index)

    def _end(self, value: int, upwards: bool, negative: int | None) -> int | None:
        """The slice towards which the outermost drawn outline vanishes; None if it is to be held constant."""
        if negative is not None:
            return negative
        if self._extents is None:
            return None
        return self._extents[value].above if upwards else self._extents[value].below

    def _drawn(self, value: int, index: int | None) -> np.ndarray | None:
        """The signed distance within the segment's bounds; None if nothing is drawn there."""
        if index is None or not self._annotations.masks[value][index].any():
            return None
        if (value, index) not in self._distances:
            row0, col0, row1, col1 = self.region(value)
            mask = self._annotations.masks[value][index][row0 : row1 + 1, col0 : col1 + 1]
            self._distances[value, index] = signed_distance(mask, self._annotations.spacing)
        return self._distances[value, index]

    def region(self, value: int) -> Bounds:
        """The rectangle beyond which no outline of the segment can reach."""
        if value not in self._bounds:
            box = box_around(self._annotations.masks[value].values())
            self._bounds[value] = widened(box, (REACH, REACH), self._annotations.shape)
        return self._bounds[value]
