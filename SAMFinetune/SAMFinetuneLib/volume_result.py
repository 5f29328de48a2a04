"""What a collection or an adapter has found in a volume, for the segments of its segmentation. No Qt."""

from typing import Any

import numpy as np

from SAMFinetuneLib.review import ReviewEntry
from SAMFinetuneLogic.fewshot.results import VolumeResult
from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.annotated import annotated_masks, annotated_slices
from SAMFinetuneLogic.mrml.segments import add_segment, segment_ids


def masks_of(segmentation: Any, volume: Volume, answer: VolumeResult) -> dict[str, dict[int, np.ndarray]]:
    """Of each class by segment and slice; missing segments are added. What the user has annotated is left as it is."""
    axis = answer.axis
    stack = np.moveaxis(answer.labels.voxels, array_axis(axis), 0)
    known = _segments_by_name(segmentation)
    annotated = annotated_masks(segmentation, volume, axis)
    masks: dict[str, dict[int, np.ndarray]] = {}
    for segment in answer.labels.segments:
        segment_id = known.get(segment.name) or add_segment(segmentation, segment.name, segment.color)
        kept = annotated.get(segment_id, {})
        found = {index: stack[index] == segment.value for index in range(len(stack)) if index not in kept}
        for other, by_slice in annotated.items():
            if other != segment_id:
                for index in by_slice.keys() & found.keys():
                    found[index] = found[index] & ~by_slice[index]
        masks[segment_id] = found
    return masks


def review_entries(segmentation: Any, volume: Volume, answer: VolumeResult) -> list[ReviewEntry]:
    """What was filled in, or could have been, by segment and slice."""
    names = {segment.value: segment.name for segment in answer.labels.segments}
    known = _segments_by_name(segmentation)
    annotated = {
        segment_id: annotated_slices(segmentation, segment_id, volume, answer.axis) for segment_id in known.values()
    }
    entries = []
    for found in answer.slices:
        segment_id = known[names[found.value]]
        slices = annotated[segment_id]
        if found.index not in slices and (found.pixels or round(found.doubtful_pixels)):
            distance = min((abs(found.index - index) for index in slices), default=None)
            where = SliceIndex(answer.axis, found.index)
            entries.append(ReviewEntry(segment_id, where, found.doubtful_pixels, distance))
    return entries


def _segments_by_name(segmentation: Any) -> dict[str, str]:
    return {segmentation.GetSegmentation().GetSegment(each).GetName(): each for each in segment_ids(segmentation)}
