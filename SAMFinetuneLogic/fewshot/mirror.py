"""The mirror image of a slice as a second look at it, for the first guess. Reconstructed, like all first guesses.

On another image than the labelled ones, a guess errs with what the encoder happens to make of it. The encoder sees a
mirrored slice anew, although tissue looks there as it does here and no pixel is interpolated: the mean of both guesses
keeps what they share, and is weak where they differ. How much a class may be looked for in the mirror, where a left
kidney is a right one, the labelled slices tell: see :func:`mirror_weights`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SAMFinetuneLogic.fewshot.dense import DenseEstimator
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage

AS_IS = Window(0.0, 255.0, "as_is")
"""Of pixels that are windowed already."""


@dataclass(frozen=True, eq=False)
class MirroredEmbedding:
    """What the encoder makes of a mirrored slice.

    Attributes:
        embedding: float16 (C, h, w), on the CPU: in half precision always, so that an answer does not depend on
            whether a cache held it.
        width: of the slice in it, in cells; the rest of a row is padding.
    """

    embedding: torch.Tensor
    width: float

    def logits(self, estimator: DenseEstimator, device: torch.device) -> torch.Tensor:
        """An estimator's logits (n, h, w) on it, turned back to lie as on the slice."""
        return turned_back(estimator.logits(self.embedding.to(device, torch.float32)), self.width)


def encode_mirrored(
    predictor: SlicePredictor, pixels: np.ndarray, spacing: tuple[float, float], index: SliceIndex
) -> MirroredEmbedding:
    """Encode the mirror image of a slice.

    Args:
        pixels: uint8 (rows, cols[, 3]), windowed, not mirrored yet.
        spacing: (row_mm, col_mm).
        index: of the slice.
    """
    embedded = predictor.embed(SliceImage(np.ascontiguousarray(pixels[:, ::-1]), spacing, index, AS_IS))
    embedding = embedded.embedding[0].cpu().to(torch.float16)
    share = embedded.transform.content_shape[1] / embedded.transform.preprocessing.size
    return MirroredEmbedding(embedding, share * embedding.shape[-1])


def turned_back(plane: torch.Tensor, width: float) -> torch.Tensor:
    """Mirror (..., h, w) along its rows about the middle of their first ``width`` cells, which may be a fraction."""
    cells = plane.shape[-1]
    at = (width - 1 - torch.arange(cells, device=plane.device, dtype=torch.float32)).clamp(0, max(width - 1, 0))
    left = at.floor().long()
    right = (left + 1).clamp(max=cells - 1)
    part = at - left
    return plane[..., left] * (1 - part) + plane[..., right] * part


def joined(guess: torch.Tensor, mirrored: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """The weighted mean (n, h, w) of both guesses; ``weights`` are those of the mirrored one, class by class."""
    share = torch.tensor(weights, dtype=guess.dtype, device=guess.device)[:, None, None]
    return guess + share * (mirrored - guess)


def mirror_weights(
    guesses: Sequence[torch.Tensor], mirrored: Sequence[torch.Tensor], fractions: Sequence[torch.Tensor]
) -> tuple[float, ...]:
    """How much the guess from the mirror counts, for each class: from 0 to a half.

    Both guesses count by their Dice on labelled slices, the mirrored one at most as much as the other. A class that is
    told by its side is not found where it should be in the mirror, and gets a weight near 0.

    Args:
        guesses: on labelled slices, each (n, h, w), by estimators that have not seen the slice.
        mirrored: on their mirror images, turned back.
        fractions: coverage of the classes, each (n + 1, h, w).
    """
    plain, second = _dice_of_classes(guesses, fractions), _dice_of_classes(mirrored, fractions)
    shares = second / (plain + second).clamp(min=1e-6)
    return tuple(min(0.5, round(float(share), 4)) for share in shares)


def _dice_of_classes(guesses: Sequence[torch.Tensor], fractions: Sequence[torch.Tensor]) -> torch.Tensor:
    """(n,): Dice of the likeliest class of each cell, over all slices at once."""
    shared, total = torch.zeros(len(guesses[0])), torch.zeros(len(guesses[0]))
    for guess, fraction in zip(guesses, fractions, strict=True):
        inside = fraction.sum(0) > 0.5
        found = torch.cat([torch.zeros_like(guess[:1]), guess]).argmax(0)[inside]
        truth = fraction.argmax(0)[inside]
        for n in range(len(total)):
            shared[n] += 2 * ((found == n + 1) & (truth == n + 1)).sum()
            total[n] += (found == n + 1).sum() + (truth == n + 1).sum()
    return shared / total.clamp(min=1)
