"""What a propagation fills in: the segments by their annotated slices, and the masks that come of it. No Qt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import Axis, array_axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.mrml.annotated import annotated_masks, annotated_slices
from SAMFinetuneLogic.mrml.editing import Written
from SAMFinetuneLogic.mrml.segments import segment_ids, segmentation_labels
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.wording import some_slices

if TYPE_CHECKING:
    from SAMFinetuneLogic.propagation.result import PropagationResult  # brings scipy, too slow for opening the module


@dataclass(eq=False)
class PropagationRun:
    """What is filled in, by groups of segments with the same annotated slices.

    Attributes:
        labels: what is drawn so far; each group sees what the ones before have filled in.
        values: of each segment by its id.
        known: the annotated slices of each segment of the segmentation, when the run began.
        waiting: (annotated slices, segments) of the groups that are not filled in yet.
        results: (segment, value, result) of those that are.
    """

    work: Work
    axis: Axis
    options: PropagationOptions
    labels: LabelMap
    values: dict[str, int]
    known: dict[str, tuple[int, ...]]
    waiting: list[tuple[tuple[int, ...], list[str]]]
    results: list[tuple[str, int, "PropagationResult"]] = field(default_factory=list)

    def masks(self) -> "dict[str, _Masks]":
        """By segment and slice, where something was filled in.

        What the user has annotated since the run began is left as it is.
        """
        stack = np.moveaxis(self.labels.voxels, array_axis(self.axis), 0)
        fresh = annotated_masks(self.work.segmentation_node, self.work.volume, self.axis, but=self.known)
        masks = {}
        for segment, value, result in self.results:
            indices = [report.index for report in result.slices if report.value == value]
            taken: dict[int, np.ndarray] = {}
            for other, by_slice in fresh.items():
                if other != segment:
                    for index, mask in by_slice.items():
                        taken[index] = taken[index] | mask if index in taken else mask
            masks[segment] = _Masks(stack, value, tuple(set(indices) - set(fresh.get(segment, ()))), taken)
        return masks

    def said(self, written: Written | None) -> tuple[dict[str, str], str]:
        """For the user: of each segment what was filled in and how well, and what holds for all of them."""
        parts = {}
        for segment, value, result in self.results:
            drawn = sum(1 for report in result.slices if report.value == value and report.pixels)
            estimate = next((e.text for e in result.estimates if e.value == value), "")
            parts[segment] = f"Filled in {some_slices(drawn)} of {self.work.name(segment)}. {estimate}".strip()
        notices = dict.fromkeys(notice for *_, result in self.results for notice in result.notices)
        return parts, " ".join(text for text in ((written.notice if written else None) or "", *notices) if text)


class _Masks(Mapping[int, np.ndarray]):
    """The slices of one label, made when they are asked for: all at once take as much memory as the volume's labels.

    Args:
        stack: (slices, rows, cols) labels.
        value: the label.
        indices: of the slices.
        taken: by slice, pixels that are not to be had.
    """

    def __init__(
        self, stack: np.ndarray, value: int, indices: tuple[int, ...], taken: Mapping[int, np.ndarray]
    ) -> None:
        self._stack, self._value, self._indices = stack, value, dict.fromkeys(sorted(indices))
        self._taken = taken

    def __getitem__(self, index: int) -> np.ndarray:
        if index not in self._indices:
            raise KeyError(index)
        mask: np.ndarray = self._stack[index] == self._value
        return mask & ~self._taken[index] if index in self._taken else mask

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


def plan_run(
    work: Work, axis: Axis, annotated: dict[str, tuple[int, ...]], options: PropagationOptions
) -> PropagationRun:
    """Group the segments by their annotated slices.

    Raises:
        InputError: nothing is drawn on the annotated slices of any of them.
    """
    # These last: of segments that overlap, the last one has the voxel.
    others = [segment for segment in segment_ids(work.segmentation_node) if segment not in annotated]
    found = segmentation_labels(work.segmentation_node, work.volume, [*others, *annotated])
    voxels = found.labels.voxels.copy()
    stack = np.moveaxis(voxels, array_axis(axis), 0)
    groups: dict[tuple[int, ...], list[str]] = {}
    for segment, slices in annotated.items():
        value = found.values[segment]
        if any((stack[index] == value).any() for index in slices):
            groups.setdefault(slices, []).append(segment)
            for index in set(range(len(stack))) - set(slices):  # an earlier result is no obstacle to the others
                stack[index][stack[index] == value] = 0
    if not groups:
        raise InputError("Nothing is drawn on the annotated slices: draw the structure on at least one of them.")
    labels = LabelMap.of_known(voxels, found.labels.ijk_to_ras, found.labels.segments, found.labels.name)
    node = work.segmentation_node
    known = {segment: annotated_slices(node, segment, work.volume, axis) for segment in segment_ids(node)}
    return PropagationRun(work, axis, options, labels, found.values, known, list(groups.items()))
