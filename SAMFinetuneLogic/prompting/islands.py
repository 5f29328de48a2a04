"""Small islands in an answer that nothing was said about: taken away, as a user would.

They are specks of the same gray elsewhere. On the development cases Dice hardly changes without them, the surface
distances get a little smaller.
"""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.metrics import tight_box
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.crops import click_pixels
from SAMFinetuneLogic.prompting.placement import SlicePrompts

SHARE = 0.05
"""Islands of less than this part of the largest one are taken away."""
OUTSIDE_LOGIT = -1.0
"""Of what is taken out of an answer."""
TOUCHING = np.ones((3, 3), dtype=bool)
"""Parts that touch at a corner are one."""


def without_islands(answer: Candidates, prompts: SlicePrompts) -> Candidates:
    """The candidates without small islands; those with a positive click, a stroke or a part of the user's mask stay.

    What is fed back to the model with the next prompt, the low resolution logits, stays as the model gave it.

    Args:
        answer: to the prompts.
        prompts: with one box at most.
    """
    logits: np.ndarray | None = None
    for number, mask in enumerate(answer.masks):
        if not mask.any():
            continue
        row0, col0, row1, col1 = tight_box(mask)
        box = np.s_[row0 : row1 + 1, col0 : col1 + 1]  # much smaller than the slice, as a rule
        parts, count = ndimage.label(mask[box], TOUCHING)
        if count < 2:
            continue
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        stays = sizes >= SHARE * sizes[1:].max()
        stays[parts[_named(prompts, mask.shape)[box]]] = True
        stays[0] = True
        if not stays.all():
            logits = answer.slice_logits.copy() if logits is None else logits
            logits[number][box][~stays[parts]] = OUTSIDE_LOGIT
    return answer if logits is None else replace(answer, slice_logits=logits)


def _named(prompts: SlicePrompts, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels (rows, cols), boolean, of which the prompts say that they are inside."""
    named = np.zeros(shape, dtype=bool)
    clicked = click_pixels(prompts.points[prompts.labels == 1], shape)
    named[clicked[:, 0], clicked[:, 1]] = True
    if prompts.strokes is not None:
        named |= prompts.strokes > 0
    if prompts.mask is not None:
        named |= prompts.mask
    return named
