"""Further clicks: what they correct, and from where.

On a network with a coarse input a further click corrects what was found before, so the network looks there, and nowhere
else: asked on the whole slice, it loses small structures that it had found. The outline is then corrected by the gray
values (:mod:`~SAMFinetuneLogic.prompting.click_evidence`).
"""

from collections.abc import Callable

import numpy as np

from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.click_evidence import look_at_gray_values
from SAMFinetuneLogic.prompting.closer_look import (
    MIN_ZOOM,
    ask_on_crop,
    earlier_logits,
    enlargement,
    on_slice,
    sees_coarsely,
)
from SAMFinetuneLogic.prompting.crops import clicks_honoured, crop_around, object_bounds, touches_inner_sides
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor

SIDES = 2
"""An answer that reaches so many of the crop's inner sides, or all of them, is larger than the crop shows."""
SIMILAR = 0.8
"""A second click after which the answer overlaps with the one before by less Dice may have been led astray by it;"""
SIMILARITY_WEIGHT = 1.25
"""then the clicks alone are asked as well, and that answer counts which has the higher sum of predicted IoU and so many
times the Dice with the one before. Any weight from 1 to 3 does it."""


def corrects(predictor: SlicePredictor, prompts: SlicePrompts) -> bool:
    """Whether there are clicks that correct what another one or a box means, on a network with a coarse input."""
    if not prompts.corrected_by_clicks or not prompts.has_target:
        return False
    return "mask" in predictor.model.entry.prompts and sees_coarsely(predictor)


def answer_clicks(
    predictor: SlicePredictor,
    embedded: EmbeddedSlice,
    prompts: SlicePrompts,
    earlier: np.ndarray,
    ask: Callable[[np.ndarray | None], Candidates],
    look_closer: bool = True,
) -> Candidates:
    """The answer to clicks after an earlier answer.

    The earlier mask may lead astray: where a click is not honoured, the whole slice, and then the clicks alone, may say
    it better; and after the second click, which more often than any other means another structure, so may the clicks
    alone where the answer changes much.

    Args:
        predictor: the model.
        embedded: the whole slice.
        prompts: clicks, perhaps with a box.
        earlier: low resolution logits (h, w) of the answer before.
        ask: gives the answer on the whole slice for a mask prompt or None.
        look_closer: look at crops and gray values.
    """

    def settled(answer: Candidates) -> Candidates:
        return look_at_gray_values(predictor, embedded, prompts, answer) if look_closer else answer

    found = look_around_earlier(predictor, embedded, prompts, earlier) if look_closer else None
    best = None if found is None else settled(found)
    fresh: Candidates | None = None
    for mask in (earlier, None):
        if best is not None and _honoured(best, prompts) == len(prompts.points):
            break
        other = settled(ask(mask))
        fresh = other if mask is None else None
        if best is None or _honoured(other, prompts) > _honoured(best, prompts):
            best = other
    assert best is not None
    second = len(prompts.points) == 2 and not len(prompts.boxes) and corrects(predictor, prompts)
    if not look_closer or not second:
        return best
    before = earlier_logits(embedded, earlier) > 0
    if _honoured(best, prompts) == 2 and dice(best.mask, before) >= SIMILAR:
        return best
    fresh = settled(ask(None)) if fresh is None else fresh

    def likelihood(answer: Candidates) -> tuple[int, float]:
        return _honoured(answer, prompts), answer.score + SIMILARITY_WEIGHT * dice(answer.mask, before)

    return max(best, fresh, key=likelihood)


def _honoured(answer: Candidates, prompts: SlicePrompts) -> int:
    """How many clicks agree with the chosen mask."""
    return clicks_honoured(answer.mask, prompts.points, prompts.labels)


def look_around_earlier(
    predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts, earlier: np.ndarray
) -> Candidates | None:
    """The answer to clicks on a crop around the mask found before and around the clicks, with it as mask prompt.

    Args:
        predictor: the model.
        embedded: the whole slice.
        prompts: clicks without a box.
        earlier: low resolution logits (h, w) of the answer before.

    Returns:
        None where the network's input is fine enough for the whole slice, the crop shows hardly more than the slice
        does, nothing was found before, or nothing is found now that fits into the crop.
    """
    takes_masks = "mask" in predictor.model.entry.prompts
    if not takes_masks or not len(prompts.points) or len(prompts.boxes) or not sees_coarsely(predictor):
        return None
    before = earlier_logits(embedded, earlier)
    bounds = object_bounds(before > 0, prompts)
    if bounds is None:
        return None
    crop = crop_around(bounds, embedded.image.shape, embedded.image.spacing)
    if enlargement(embedded, crop) < MIN_ZOOM:
        return None
    found = ask_on_crop(predictor, embedded, prompts, crop, before, multimask=False)
    sides = touches_inner_sides(found.mask, crop, embedded.image.shape)
    if not found.mask.any() or sum(sides) >= min(SIDES, max(1, len(sides))):
        return None
    return on_slice(predictor, embedded, found, crop)
