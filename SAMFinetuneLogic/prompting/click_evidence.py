"""What the gray values around several clicks say about the answer to them.

After one click nobody knows whether a bright vessel belongs to the organ; a second click tells, and the answer has as a
rule the right place and a poor outline. Then what is frequent inside and rare around it speaks for the structure, and
the other way round, with the clicks as known pixels.

After one click it makes the answer worse, so that it is asked from the second one on.
"""

from dataclasses import replace

import numpy as np
from scipy import special

from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.closer_look import as_mask_prompts, sees_coarsely
from SAMFinetuneLogic.prompting.crops import box_pixels, click_pixels, clicks_honoured
from SAMFinetuneLogic.prompting.gray_evidence import GrayRegion
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor

MARGIN = 0.5
"""Of the longer side of the answer and the positive clicks, on each side, at least four pixels: so far is looked."""
_LEAST_MARGIN = 4
_FEWEST_PIXELS = 6
"""An answer of fewer pixels has no histogram."""
_KEPT_BY_CELLS = 0.9
"""An answer drawn on cells and back must be like itself by so much Dice: cells leave too little of thin structures."""
_MAX_TRUST = 6.0
"""The network's logits count as they are, but at most so far."""
_CLICK = 10.0
"""Log-odds that a click adds to its cell."""
_ROUNDS = 6


def look_at_gray_values(
    predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts, answer: Candidates
) -> Candidates:
    """The answer to several clicks, or to clicks and a box, its chosen mask corrected by the gray values.

    What the next click starts from, the low resolution logits, is the mean of the network's answer and the corrected
    one: on the development data better than either.

    Args:
        predictor: the one that gave ``answer``.
        embedded: the whole slice.
        prompts: those that gave ``answer``.
        answer: the network's.

    Returns:
        ``answer`` itself for a single click or a box alone, with scribbles and masks, where the network's input is
        fine, and where the gray values say nothing.
    """
    if not prompts.corrected_by_clicks or not sees_coarsely(predictor):
        return answer
    found = answer.slice_logits[answer.chosen]
    box = prompts.boxes[0] if len(prompts.boxes) else None
    image = embedded.image
    corrected = with_clicks_and_gray_values(image.gray, prompts.points, prompts.labels, found, box, image.spacing)
    if corrected is found:
        return answer
    mean = (found + corrected) / 2
    slice_logits, logits = answer.slice_logits.copy(), answer.logits.copy()
    slice_logits[answer.chosen] = corrected
    logits[answer.chosen] = as_mask_prompts(predictor, embedded, (mean if (mean > 0).any() else corrected)[None])[0]
    return replace(answer, slice_logits=slice_logits, logits=logits)


def with_clicks_and_gray_values(
    gray: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    box: np.ndarray | None = None,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """The answer to clicks, corrected by the gray values.

    Args:
        gray: (rows, cols), any values.
        points: (N, 2), (row, col) of the clicks.
        labels: (N,), 1 inside and 0 outside of the structure.
        logits: float32 (rows, cols), the network's answer.
        box: (row0, col0, row1, col1), centres of the first and last pixels of a box that was drawn before.
        spacing: (row_mm, col_mm).

    Returns:
        float32 (rows, cols) logits; ``logits`` itself where they say nothing: fewer than six pixels are inside, all
        gray values are the same, the structure is too thin for the cells on which gray values are looked at, nothing
        would be left, or fewer clicks would be honoured.
    """
    inside = logits > 0
    if np.count_nonzero(inside) < _FEWEST_PIXELS:
        return logits
    clicked = click_pixels(points, logits.shape)
    named = np.concatenate([np.argwhere(inside), clicked[labels == 1]])
    first, last = named.min(axis=0), named.max(axis=0)
    sides = last - first + 1
    margin = np.maximum(_LEAST_MARGIN, MARGIN * (sides * spacing).max() / spacing).astype(int)
    low, high = np.maximum(first - margin, 0), np.minimum(last + margin + 1, logits.shape)
    region = GrayRegion(gray, logits, spacing, low, high, sides)
    if not region.has_contrast or dice(region.on_image(region.answer) > 0, inside) < _KEPT_BY_CELLS:
        return logits
    believed = np.clip(region.answer, -_MAX_TRUST, _MAX_TRUST)
    if box is not None:
        believed = believed - region.against_outside(*box_pixels(box, logits.shape))
    near = ((clicked >= low) & (clicked < high)).all(axis=1)
    for (row, col), label in zip(region.cells_of(clicked[near]), labels[near], strict=True):
        believed[row, col] += _CLICK if label == 1 else -_CLICK
    corrected = region.on_image(region.settle(believed, special.expit(believed), _ROUNDS))
    kept, before = (clicks_honoured(answer > 0, points, labels) for answer in (corrected, logits))
    return corrected if (corrected > 0).any() and kept >= before else logits
