"""What the user has drawn and confirmed, as labels to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import Axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.annotated import annotated_slices
from SAMFinetuneLogic.mrml.segments import segment_ids, segmentation_labels


@dataclass(frozen=True, eq=False)
class TrainingLabels:
    """Segments with the slices on which they are known.

    Attributes:
        volume, axis: whose slices.
        labels: on the volume's grid. On slices that are not annotated they may be anything.
        values: of each segment by its ID.
        known: by segment ID, the slices annotated for this segment, ascending; empty ones among them are negatives.
        indices: the slices annotated for all of the segments, ascending: those for a collection or a training job.
        notices: sentences for the user.
    """

    volume: Volume
    axis: Axis
    labels: LabelMap
    values: dict[str, int]
    known: dict[str, tuple[int, ...]]
    indices: tuple[int, ...]
    notices: tuple[str, ...]


def training_labels(
    segmentation_node: Any, volume: Volume, axis: Axis, segments: Sequence[str] | None = None
) -> TrainingLabels:
    """The annotated slices along ``axis`` and their labels.

    Args:
        segments: IDs; None for all that have an annotated slice.

    Raises:
        InputError: no slice is annotated for any of the segments.
        GeometryError: the segmentation is under a non-linear transform.
    """
    asked = segment_ids(segmentation_node) if segments is None else tuple(segments)
    known = {segment_id: annotated_slices(segmentation_node, segment_id, volume, axis) for segment_id in asked}
    if segments is None:
        known = {segment_id: indices for segment_id, indices in known.items() if indices}
    if not any(known.values()):
        raise InputError(
            f"No slice along {axis} is annotated: draw the structure on a slice and accept it, or mark it as done."
        )
    found = segmentation_labels(segmentation_node, volume, tuple(known))
    shared = set.intersection(*(set(indices) for indices in known.values()))
    notices = list(found.notices)
    partial = sorted(set().union(*known.values()) - shared)
    if partial:
        listed = ", ".join(map(str, partial[:8])) + (", ..." if len(partial) > 8 else "")
        notices.append(
            f"Slices {listed} are annotated for some of the segments only and are left out of training: complete them "
            f"and mark them as done."
        )
    return TrainingLabels(volume, axis, found.labels, found.values, known, tuple(sorted(shared)), tuple(notices))
