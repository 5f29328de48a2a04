"""What a prompt gives: one or several masks of a slice, with the model's own estimate of their quality."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Candidates:
    """The masks that a prompt may have meant, best predicted first.

    Attributes:
        slice_logits: float32 (n, rows, cols) on the slice's own pixels; above 0 is foreground.
        logits: float32 (n, h, w), the decoder's own low resolution; a chosen one is the mask prompt of the next click.
        predicted_iou: float32 (n,), the model's estimate of each mask's IoU; descending as it comes from the
            predictor, but for a leading single-mask output (:meth:`SlicePredictor.predict`).
        chosen: index of the candidate that is shown; 0, the best predicted, unless the user asked for another.
        notices: sentences for the user, such as a prompt that the model cannot use.
        refined: whether the chosen candidate was drawn anew on a crop.
    """

    slice_logits: np.ndarray
    logits: np.ndarray
    predicted_iou: np.ndarray
    chosen: int = 0
    notices: tuple[str, ...] = ()
    refined: bool = False

    @property
    def count(self) -> int:
        """How many candidates there are."""
        return len(self.predicted_iou)

    @property
    def masks(self) -> np.ndarray:
        """Boolean (n, rows, cols)."""
        return self.slice_logits > 0

    @property
    def mask(self) -> np.ndarray:
        """The chosen mask, boolean (rows, cols)."""
        return self.slice_logits[self.chosen] > 0

    @property
    def mask_logits(self) -> np.ndarray:
        """The chosen mask's low resolution logits (h, w)."""
        return self.logits[self.chosen]

    @property
    def score(self) -> float:
        """The chosen mask's predicted IoU."""
        return float(self.predicted_iou[self.chosen])

    def next(self) -> "Candidates":
        """The same with the next candidate chosen; after the last one comes the first again."""
        return self.choose(self.chosen + 1)

    def choose(self, number: int) -> "Candidates":
        """The same with candidate ``number`` (counted from 0, around the end) chosen."""
        number %= self.count
        return self if number == self.chosen else replace(self, chosen=number, refined=False)
