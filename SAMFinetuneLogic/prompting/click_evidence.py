"""What the gray values around several clicks say about the answer to them.

After one click nobody knows whether a bright vessel belongs to the organ; a second click tells, and the answer has as a
rule the right place and a poor outline. Then what is frequent inside and rare around it speaks for the structure, and
the other way round, with the clicks as known pixels.

After one click it makes the answer worse, so that it is asked from the second one on.
"""

from dataclasses import replace

import numpy as np
from scipy import special

from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.closer_look import as_mask_prompts, sees_coarsely
from SAMFinetuneLogic.prompting.crops import click_pixels
from SAMFinetuneLogic.prompting.gray_evidence import GrayRegion
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor

MARGIN = 0.5
"""Of the longer side of the answer and the clicks, on each side, at least four pixels: so far around it is looked."""
_LEAST_MARGIN = 4
_FEWEST_PIXELS = 6
"""An answer of fewer pixels has no histogram."""
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
    drawn = prompts.strokes is not None or prompts.mask is not None
    corrected_by_clicks = len(prompts.points) > 0 and len(prompts.points) + len(prompts.boxes) > 1
    if drawn or not corrected_by_clicks or not sees_coarsely(predictor):
        return answer
    found = answer.slice_logits[answer.chosen]
    corrected = with_clicks_and_gray_values(embedded.image.to_gray(), prompts.points, prompts.labels, found)
    if corrected is found:
        return answer
    slice_logits, logits = answer.slice_logits.copy(), answer.logits.copy()
    slice_logits[answer.chosen] = corrected
    logits[answer.chosen] = as_mask_prompts(predictor, embedded, (found + corrected)[None] / 2)[0]
    return replace(answer, slice_logits=slice_logits, logits=logits)


def with_clicks_and_gray_values(
    gray: np.ndarray, points: np.ndarray, labels: np.ndarray, logits: np.ndarray
) -> np.ndarray:
    """The answer to clicks, corrected by the gray values.

    Args:
        gray: (rows, cols), any values.
        points: (N, 2), (row, col) of the clicks.
        labels: (N,), 1 inside and 0 outside of the structure.
        logits: float32 (rows, cols), the network's answer.

    Returns:
        float32 (rows, cols) logits; ``logits`` itself where they say nothing: fewer than six pixels are inside, all
        gray values are the same, nothing would be left, or fewer clicks would be honoured.
    """
    inside = logits > 0
    if np.count_nonzero(inside) < _FEWEST_PIXELS:
        return logits
    clicked = click_pixels(points, logits.shape)
    named = np.concatenate([np.argwhere(inside), clicked])
    first, last = named.min(axis=0), named.max(axis=0)
    side = int((last - first + 1).max())
    margin = max(_LEAST_MARGIN, int(MARGIN * side))
    low, high = np.maximum(first - margin, 0), np.minimum(last + margin + 1, logits.shape)
    region = GrayRegion(gray, logits, low, high, side)
    if not region.has_contrast:
        return logits
    believed = np.clip(region.answer, -_MAX_TRUST, _MAX_TRUST)
    for (row, col), label in zip(region.cells_of(clicked), labels, strict=True):
        believed[row, col] += _CLICK if label == 1 else -_CLICK
    corrected = region.on_image(region.settle(believed, special.expit(believed), _ROUNDS))

    def honoured(answer: np.ndarray) -> int:
        return int(np.count_nonzero((answer[clicked[:, 0], clicked[:, 1]] > 0) == (labels == 1)))

    return corrected if (corrected > 0).any() and honoured(corrected) >= honoured(logits) else logits
