"""What the user has drawn: masks of each structure on some slices along one axis, and where the structure may lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import Axis, array_axis
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume

Masks = Mapping[int, np.ndarray]
"""Slice index -> boolean (rows, cols); an empty mask says that the structure is absent there."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotated slices of a volume along one axis.

    Attributes:
        axis: of the slices.
        count: how many slices the volume has along it.
        shape: (rows, cols) of a slice.
        spacing: (row_mm, col_mm) in a slice.
        step: distance of neighbouring slices in mm.
        segments: what is annotated.
        indices: the annotated slices, ascending; they come back as they are.
        masks: of each segment by its value. A segment need not be known on all of ``indices``.
    """

    axis: Axis
    count: int
    shape: tuple[int, int]
    spacing: tuple[float, float]
    step: float
    segments: tuple[Segment, ...]
    indices: tuple[int, ...]
    masks: Mapping[int, Masks]

    @classmethod
    def of(
        cls,
        volume: Volume,
        labels: LabelMap,
        axis: Axis,
        slices: Sequence[int] | None = None,
        values: Sequence[int] | None = None,
    ) -> "Annotations":
        """Take the annotated slices from a label map on the volume's grid.

        Args:
            slices: those that the user has finished; where a segment is missing from one of them, it is absent
                there. None takes each segment's non-empty slices, and nothing as a negative.
            values: the segments to continue; None for all that are drawn.

        Raises:
            GeometryError: the grids differ, or a slice is outside of the volume.
            InputError: nothing is drawn on the slices.
        """
        if labels.shape != volume.shape:
            raise GeometryError("The labels are not on the image's grid; resample them to it first.")
        stack = np.moveaxis(labels.voxels, array_axis(axis), 0)
        count = len(stack)
        for index in slices or ():
            if not 0 <= index < count:
                raise GeometryError(f"Slice {axis}={index} is outside of the volume; use 0 to {count - 1}.")
        drawn = [int(index) for index in np.flatnonzero(stack.reshape(count, -1).any(axis=1))]
        indices = tuple(sorted(set(drawn if slices is None else slices)))
        masks: dict[int, dict[int, np.ndarray]] = {}
        for segment in labels.segments:
            if values is not None and segment.value not in values:
                continue
            by_slice = {index: stack[index] == segment.value for index in indices}
            if not any(mask.any() for mask in by_slice.values()):
                continue
            if slices is None:
                by_slice = {index: mask for index, mask in by_slice.items() if mask.any()}
            masks[segment.value] = by_slice
        if not masks:
            raise InputError("Nothing is drawn on the annotated slices: draw the structure on at least one slice.")
        i, j, k = volume.spacing
        return cls(
            axis,
            count,
            volume.slice_shape(axis),
            volume.slice_spacing(axis),
            {"i": i, "j": j, "k": k}[axis],
            tuple(segment for segment in labels.segments if segment.value in masks),
            indices,
            masks,
        )

    def present(self, value: int) -> list[int]:
        """The slices on which a segment is drawn, ascending."""
        return sorted(index for index, mask in self.masks[value].items() if mask.any())

    def known(self, value: int) -> list[int]:
        """The slices on which a segment is drawn or known to be absent, ascending."""
        return sorted(self.masks[value])

    def without(self, index: int) -> "Annotations":
        """The same as if slice ``index`` had not been annotated."""
        masks = {
            value: {other: mask for other, mask in by_slice.items() if other != index}
            for value, by_slice in self.masks.items()
        }
        return replace(self, indices=tuple(i for i in self.indices if i != index), masks=masks)

    def distance(self, value: int, index: int) -> float:
        """How many slices away the nearest slice is on which a segment is drawn; infinite if there is none."""
        return float(min((abs(index - other) for other in self.present(value)), default=inf))

    def neighbours(self, value: int, index: int) -> tuple[int | None, int | None]:
        """The nearest slices below and above ``index`` on which the segment is known; None where there is none."""
        known = self.known(value)
        return (
            max((i for i in known if i < index), default=None),
            min((i for i in known if i > index), default=None),
        )
