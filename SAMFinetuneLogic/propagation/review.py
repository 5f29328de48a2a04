"""What to look at next: the slices in order of doubt, and the next slice to annotate."""

import csv
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from SAMFinetuneLogic.files import atomic_target
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.result import PropagationResult, SliceReport

_COLUMNS = ("rank", "axis", "slice", "segment", "pixels", "doubt", "doubtful_pixels", "annotated_slices_away")


def review_order(reports: Sequence[SliceReport]) -> tuple[SliceReport, ...]:
    """Most doubtful pixels first: the correction that is likely to change most. Equal ones by slice and segment."""
    return tuple(sorted(reports, key=lambda report: (-report.doubt.pixels, report.index, report.value)))


def next_slice(annotations: Annotations, extents: Sequence[Extent]) -> int | None:
    """The slice to annotate next: the middle of the widest stretch without one, the lowest of equal ones.

    That is equal spacing, on purpose: choosing the most doubtful slice is not known to be better for annotating.
    None when there is nothing left to annotate.
    """
    first, last = min(extent.first for extent in extents), max(extent.last for extent in extents)
    # The ends count as annotated just beyond: what lies between there and the outermost slice rests on one side only.
    stops = [first - 1, *(index for index in annotations.indices if first <= index <= last), last + 1]
    width, _, middle = max((high - low, -low, (low + high) // 2) for low, high in pairwise(stops))
    return middle if width > 1 else None


def write_review(path: Path, result: PropagationResult, overwrite: bool = True) -> Path:
    """Write the review queue as CSV: one line a slice and segment, the most doubtful first.

    A line that starts with ``next`` names the slice to annotate next.

    Raises:
        OutputError: the file exists and must not be replaced, or cannot be written.
    """
    names = {segment.value: segment.name for segment in result.labels.segments}
    with atomic_target(path, overwrite) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for rank, report in enumerate(result.review, 1):
            writer.writerow(
                (
                    rank,
                    result.axis,
                    report.index,
                    names[report.value],
                    report.pixels,
                    f"{report.doubt.disagreement + report.doubt.jitter:.4f}",
                    f"{report.doubt.pixels:.1f}",
                    f"{report.distance:g}",
                )
            )
        if result.next_slice is not None:
            writer.writerow(("next", result.axis, result.next_slice, "", "", "", "", ""))
    return path
