"""What a prompt gives: one or several masks of a slice, with the model's own estimate of their quality."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import numpy as np


class RankedMasks(ABC):
    """The masks that a prompt may have meant, the one to show first; how they are kept is up to the subclasses.

    Those are frozen dataclasses with at least these attributes:

    Attributes:
        logits: float32 (n, h, w), the decoder's own low resolution; a chosen one is the mask prompt of the next click.
        predicted_iou: float32 (n,), the model's estimate of each mask's IoU; descending as it comes from the
            predictor, but for a leading single-mask output (:meth:`SlicePredictor.predict`).
        chosen: index of the candidate that is shown; 0, the model's own choice, unless the user asked for another.
        notices: sentences for the user, such as a prompt that the model cannot use.
        refined: whether the chosen candidate was drawn anew on a crop.
    """

    logits: np.ndarray
    predicted_iou: np.ndarray
    chosen: int
    notices: tuple[str, ...]
    refined: bool

    @property
    @abstractmethod
    def masks(self) -> np.ndarray:
        """Boolean (n, rows, cols)."""

    @property
    @abstractmethod
    def mask(self) -> np.ndarray:
        """The chosen mask, boolean (rows, cols)."""

    @property
    def count(self) -> int:
        """How many candidates there are."""
        return len(self.predicted_iou)

    @property
    def mask_logits(self) -> np.ndarray:
        """The chosen mask's low resolution logits (h, w)."""
        return self.logits[self.chosen]

    @property
    def score(self) -> float:
        """The chosen mask's predicted IoU."""
        return float(self.predicted_iou[self.chosen])

    def next(self) -> Self:
        """The same with the next candidate chosen; after the last one comes the first again."""
        return self.choose(self.chosen + 1)

    def choose(self, number: int) -> Self:
        """The same with candidate ``number`` (counted from 0, around the end) chosen."""
        number %= self.count
        return self if number == self.chosen else replace(self, chosen=number, refined=False)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Candidates(RankedMasks):
    """Candidates with the logits on the slice's own pixels.

    Attributes:
        slice_logits: float32 (n, rows, cols) on the slice's own pixels; above 0 is foreground.
        logits, predicted_iou, chosen, notices, refined: see :class:`RankedMasks`.
    """

    slice_logits: np.ndarray
    logits: np.ndarray
    predicted_iou: np.ndarray
    chosen: int = 0
    notices: tuple[str, ...] = ()
    refined: bool = False

    @property
    def masks(self) -> np.ndarray:
        return self.slice_logits > 0

    @property
    def mask(self) -> np.ndarray:
        return self.slice_logits[self.chosen] > 0
