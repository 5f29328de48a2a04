"""A volume on a few slices of which a user has drawn all structures: what is learned from, and what is left to try."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from SAMFinetuneLogic.evaluation.manifest import Case
from SAMFinetuneLogic.evaluation.structures import Structure, case_structures, equally_spaced
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap, default_segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window

if TYPE_CHECKING:
    from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet

MAX_TRIED = 24
"""Slices of a structure that are measured; of more, equally spaced ones."""


@dataclass(frozen=True, eq=False)
class AnnotatedVolume:
    """The structures of one label map; they are annotated together.

    Attributes:
        structures: not empty; they get the values 1 to n in their order.
    """

    structures: tuple[Structure, ...]

    @property
    def volume(self) -> Volume:
        return self.structures[0].target.volume

    @property
    def window(self) -> Window:
        return self.structures[0].target.window

    @cached_property
    def labels(self) -> LabelMap:
        """All of the truth."""
        voxels = np.zeros(self.volume.shape, dtype=np.uint8)
        for value, structure in enumerate(self.structures, 1):
            voxels[structure.truth] = value
        segments = tuple(
            replace(default_segment(value), name=structure.target.name)
            for value, structure in enumerate(self.structures, 1)
        )
        return LabelMap(voxels, self.volume.ijk_to_ras, segments)

    def annotated(self, count: int) -> tuple[int, ...]:
        """The slices that the user draws on: equally spaced ones among those that show any structure."""
        return equally_spaced(sorted({k for structure in self.structures for k in structure.present}), count)

    def learned(self, indices: Sequence[int]) -> "LabelledSet":
        """The annotated slices."""
        from SAMFinetuneLogic.finetuning.labelled_slices import labelled_slices

        return labelled_slices(self.volume, self.labels, self.window, "k", indices)

    def target(self, number: int, index: int) -> Target:
        """A structure, counted from 0, on a slice."""
        structure = self.structures[number]
        return replace(structure.target, slice=SliceIndex("k", index), mask=structure.truth[index], example=None)

    def tried(self, number: int, indices: Sequence[int]) -> tuple[int, ...]:
        """At most :data:`MAX_TRIED` slices of a structure that are not annotated; none if it is on no annotated one."""
        present = self.structures[number].present
        others = [k for k in present if k not in indices]
        if len(others) == len(present) or not others:
            return ()
        places = np.round(np.linspace(0, len(others) - 1, min(MAX_TRIED, len(others)))).astype(int)
        return tuple(others[place] for place in places)


def annotated_volume(case: Case, max_labels: int | None = None, window: str = "auto") -> AnnotatedVolume | None:
    """The first volume of a case with large structures, so that no case counts more than another; None without one.

    Args:
        max_labels, window: see :func:`SAMFinetuneLogic.evaluation.structures.case_structures`.
    """
    structures = case_structures(case, max_labels, window)
    for _, group in groupby(structures, key=lambda each: (each.target.image, each.target.label_map)):
        return AnnotatedVolume(tuple(group))
    return None
