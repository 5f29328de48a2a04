"""What comes back from the model's process. Knows no torch: these values are read in the user interface."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.fewshot.fit_record import FitRecord
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.prompting.candidates import Candidates, RankedMasks

Bounds = tuple[int, int, int, int]
"""First and last row and column, inclusive: (row0, col0, row1, col1)."""


@dataclass(frozen=True)
class ModelInfo:
    """The model that was loaded.

    Attributes:
        description: model and device in a few words; also what ``str()`` gives.
        id, title, licence, non_commercial: of the catalogue entry.
        sha256: of the checkpoint file.
        device, precision: where and how the encoder runs.
        prompts: the kinds that it takes.
        adapter: folder of the adapter on it, or None.
        warnings: sentences for the user.
    """

    description: str
    id: str
    title: str
    licence: str
    non_commercial: bool
    sha256: str
    device: str
    precision: str
    prompts: tuple[str, ...]
    adapter: Path | None
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return self.description


@dataclass(frozen=True, eq=False)
class CutMask:
    """A mask of a slice without the empty space around it.

    Attributes:
        shape: (rows, cols) of the slice.
        bounds: of the mask; None for an empty one.
        pixels: boolean, of the bounds' size.
    """

    shape: tuple[int, int]
    bounds: Bounds | None
    pixels: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> "CutMask":
        """Cut a boolean (rows, cols) mask."""
        rows = np.flatnonzero(mask.any(axis=1))
        shape = (mask.shape[0], mask.shape[1])
        if not len(rows):
            return cls(shape, None, np.zeros((0, 0), dtype=bool))
        row0, row1 = int(rows[0]), int(rows[-1])
        cols = np.flatnonzero(mask[row0 : row1 + 1].any(axis=0))
        col0, col1 = int(cols[0]), int(cols[-1])
        return cls(shape, (row0, col0, row1, col1), mask[row0 : row1 + 1, col0 : col1 + 1].copy())

    def full(self) -> np.ndarray:
        """The mask on the whole slice, a new boolean (rows, cols) array."""
        mask = np.zeros(self.shape, dtype=bool)
        if self.bounds is not None:
            row0, col0, row1, col1 = self.bounds
            mask[row0 : row1 + 1, col0 : col1 + 1] = self.pixels
        return mask


@dataclass(frozen=True, eq=False)
class CutCandidates(RankedMasks):
    """The candidates of :class:`SAMFinetuneLogic.prompting.candidates.Candidates`, small enough to be sent.

    The logits on the slice's own pixels stay behind.

    Attributes:
        cuts: the masks.
        logits, predicted_iou, chosen, notices, refined: see :class:`RankedMasks`.
    """

    cuts: tuple[CutMask, ...]
    logits: np.ndarray
    predicted_iou: np.ndarray
    chosen: int = 0
    notices: tuple[str, ...] = ()
    refined: bool = False

    @classmethod
    def of(cls, candidates: Candidates) -> "CutCandidates":
        """Cut the masks to their bounding boxes."""
        return cls(
            tuple(CutMask.of(mask) for mask in candidates.masks),
            candidates.logits,
            candidates.predicted_iou,
            candidates.chosen,
            candidates.notices,
            candidates.refined,
        )

    @property
    def masks(self) -> np.ndarray:
        return np.stack([cut.full() for cut in self.cuts])

    @property
    def mask(self) -> np.ndarray:
        return self.cuts[self.chosen].full()

    @property
    def bounds(self) -> Bounds | None:
        """Of the chosen mask; None for an empty one."""
        return self.cuts[self.chosen].bounds

    @property
    def cut(self) -> np.ndarray:
        """The chosen mask within its bounds."""
        return self.cuts[self.chosen].pixels


@dataclass(frozen=True, eq=False)
class CollectionEntry:
    """A labelled slice of a collection, turned to the radiological view.

    Attributes:
        identity: for removing it.
        title, image: for lists.
        slice: where it was in its volume.
        plane: axial, coronal or sagittal.
        pixels: uint8 (rows, cols) or (rows, cols, 3).
        labels: (rows, cols).
        spacing: (row_mm, col_mm).
    """

    identity: tuple[str, SliceIndex]
    title: str
    image: str
    slice: SliceIndex
    plane: str
    pixels: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float]


@dataclass(frozen=True, eq=False)
class CollectionInfo:
    """What a few-shot collection holds.

    Attributes:
        path: of its file.
        model_title: of the model that encoded it.
        window_name, plane: what a new image is opened with.
        classes: the structures.
        entries: the slices, in the order in which they were added.
        fit: the decoder in it, or None.
    """

    path: Path
    model_title: str
    window_name: str
    plane: str
    classes: tuple[Segment, ...]
    entries: tuple[CollectionEntry, ...]
    fit: FitRecord | None
