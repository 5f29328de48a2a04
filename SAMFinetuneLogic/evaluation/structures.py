"""What is continued through a volume: the large structures of a case, and which of their slices are annotated."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.evaluation.manifest import Case
from SAMFinetuneLogic.evaluation.targets import Target, read_truth, target_on_slice, voxels_per_slice
from SAMFinetuneLogic.imaging.reading import read_image
from SAMFinetuneLogic.imaging.windows import choose_window

MIN_SLICES = 8
"""A structure that is present on fewer slices along k is left out."""
MAX_LABELS = 4
"""Of each image/label pair the structures with most voxels."""
COUNTS = (1, 3, 5, 9)
"""How many slices are annotated."""


@dataclass(frozen=True, eq=False)
class Structure:
    """One structure of a volume.

    Attributes:
        target: its largest slice.
        truth: boolean (k, j, i).
        present: the slices along k on which it is, ascending.
    """

    target: Target
    truth: np.ndarray
    present: tuple[int, ...]

    @property
    def first(self) -> int:
        return self.present[0]

    @property
    def last(self) -> int:
        return self.present[-1]

    def annotated(self, count: int) -> tuple[int, ...]:
        """The slices that the user draws on: the largest one, or equally spaced ones among those of the structure.

        Where the structure is on too few slices they are fewer than ``count``.
        """
        if count == 1:
            return (self.target.slice.index,)
        return equally_spaced(self.present, count)


def equally_spaced(indices: Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` of some slices, ascending, or fewer where there are not so many: equally spaced, without the ends."""
    places = np.round(np.linspace(0, len(indices) - 1, count + 2)[1:-1]).astype(int)
    return tuple(sorted({indices[place] for place in places}))


def case_structures(case: Case, max_labels: int | None = None, window: str = "auto") -> Iterator[Structure]:
    """The structures of a case, one after another; two-dimensional images have none.

    A label map that equals an earlier one of the same image on the image's grid is not counted again.

    Args:
        max_labels: of each pair, at most :data:`MAX_LABELS`.
        window: a name that :func:`SAMFinetuneLogic.imaging.windows.choose_window` knows.
    """
    seen: set[tuple[Path, str]] = set()
    for pair in case.pairs:
        volume = read_image(pair.image)
        if volume.shape[0] < MIN_SLICES:
            continue
        labels = read_truth(pair, volume)
        fingerprint = (pair.image, hashlib.sha256(labels.voxels.astype(np.uint16).tobytes()).hexdigest())
        if fingerprint in seen:
            continue
        seen.add(fingerprint)
        counts = voxels_per_slice(labels)
        long = [segment for segment in labels.segments if np.count_nonzero(counts[:, segment.value]) >= MIN_SLICES]
        long.sort(key=lambda segment: -int(counts[:, segment.value].sum()))
        chosen_window = choose_window(volume, window)
        for segment in long[: min(MAX_LABELS, max_labels or MAX_LABELS)]:
            largest = int(counts[:, segment.value].argmax())
            target = target_on_slice(case, pair, volume, chosen_window, labels, segment, largest)
            truth = labels.voxels == segment.value
            yield Structure(target, truth, tuple(int(k) for k in np.flatnonzero(counts[:, segment.value])))
