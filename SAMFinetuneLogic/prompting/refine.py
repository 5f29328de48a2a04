"""Closer looks at small structures.

An object that covers few of the network's input pixels gets a coarse outline. It is looked at again on a crop around
it, which fills the network's input: with the same prompts, and with the first mask as mask prompt.
"""

from dataclasses import replace

import numpy as np

from SAMFinetuneLogic.prompting.box_look import box_crop, looks_into_boxes
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.closer_look import (
    MIN_ZOOM,
    as_mask_prompts,
    ask_on_crop,
    earlier_logits,
    enlargement,
    sees_coarsely,
)
from SAMFinetuneLogic.prompting.crops import (
    MARGIN,
    OUTSIDE_LOGIT,
    Bounds,
    crop_around,
    object_bounds,
    touches_inner_sides,
)
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import Crop

SMALL_FRACTION = 1 / 3
"""An object is small if its longer side covers less than this part of the network input's side,"""
SMALL_INPUT_PIXELS = 64
"""and fewer than so many input pixels: SAM's 1024 pixels need no second look at a third of them."""
CORRECTED_FRACTION = 0.6
"""Once there are several clicks, a network with a coarse input looks closer at an object of less than this part of its
input's side,"""
CORRECTED_MARGIN = 1.5
"""on a crop so many times the object's size: a corrected answer is hardly larger than the object."""


def refine(
    predictor: SlicePredictor,
    embedded: EmbeddedSlice,
    prompts: SlicePrompts,
    first: Candidates,
    earlier: np.ndarray | None = None,
) -> Candidates:
    """The candidates with the chosen one drawn anew on a crop around it, if it is small.

    Of a structure of a few input pixels, clicks around it may leave nothing on the whole slice: then the crop is laid
    around what was found before.

    The other candidates stay as they are, see :func:`refine_others`. The first answer is kept where the second
    disagrees wildly: it is empty, does not meet the first mask, or touches all sides of the crop that lie within the
    slice.

    Args:
        predictor: the one that gave ``first``.
        embedded: the whole slice.
        prompts: those that gave ``first``, with one box at most.
        first: the answer on the whole slice.
        earlier: low resolution logits (h, w) of the answer before, if there is one.
    """
    found = first.slice_logits[first.chosen]
    if earlier is not None and not (found > 0).any():
        found = earlier_logits(embedded, earlier)
    crop = _closer_look(predictor, embedded, prompts, found > 0)
    if crop is None:
        return first
    coarse = found[crop.slices]
    before = found if (coarse > 0).any() else None
    second = ask_on_crop(predictor, embedded, prompts, crop, before, multimask=False)
    if _disagrees(second.mask, coarse > 0, crop, embedded.image.shape):
        return first
    return _paste(predictor, embedded, first, second, crop)


def refine_others(
    predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts, refined: Candidates
) -> Candidates:
    """What :func:`refine` gave for the chosen candidate, with all others drawn anew in the same way, each on its crop.

    Takes a look for each of them: for who asks to see them.
    """
    result = refined
    for number in range(refined.count):
        if number != refined.chosen:
            result = refine(predictor, embedded, prompts, result.choose(number))
    return replace(result, chosen=refined.chosen, refined=refined.refined)


def _is_small(bounds: Bounds, embedded: EmbeddedSlice, corrected: bool) -> bool:
    """Whether an object covers so few input pixels that a closer look pays.

    Args:
        corrected: by several clicks, and seen coarsely.
    """
    size, scale = embedded.transform.preprocessing.size, embedded.transform.scale
    side = max((bounds[2] - bounds[0] + 1) * scale[0], (bounds[3] - bounds[1] + 1) * scale[1])
    if corrected:
        return side < CORRECTED_FRACTION * size
    return side < min(SMALL_INPUT_PIXELS, SMALL_FRACTION * size)


def _closer_look(
    predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts, mask: np.ndarray
) -> Crop | None:
    """The crop to look at, or None where a second look cannot help."""
    if len(prompts.boxes) and looks_into_boxes(predictor):
        return box_crop(embedded, prompts)
    bounds, corrected = object_bounds(mask, prompts), len(prompts.points) > 1 and sees_coarsely(predictor)
    if bounds is None or not _is_small(bounds, embedded, corrected):
        return None
    if "mask" not in predictor.model.entry.prompts and not len(prompts.points) and not len(prompts.boxes):
        return None
    margin = CORRECTED_MARGIN if corrected else MARGIN
    crop = crop_around(bounds, embedded.image.shape, embedded.image.spacing, margin)
    return crop if enlargement(embedded, crop) >= MIN_ZOOM else None


def _disagrees(second: np.ndarray, first: np.ndarray, crop: Crop, shape: tuple[int, int]) -> bool:
    if not second.any() or (first.any() and not (second & first).any()):
        return True
    return all(touches_inner_sides(second, crop, shape))


def _paste(
    predictor: SlicePredictor, embedded: EmbeddedSlice, first: Candidates, second: Candidates, crop: Crop
) -> Candidates:
    """``first`` with its chosen candidate replaced by ``second``, in all its resolutions."""
    on_slice = np.minimum(first.slice_logits[first.chosen], OUTSIDE_LOGIT)
    on_slice[crop.slices] = second.slice_logits[0]
    slice_logits, logits, predicted_iou = first.slice_logits.copy(), first.logits.copy(), first.predicted_iou.copy()
    slice_logits[first.chosen] = on_slice
    logits[first.chosen] = as_mask_prompts(predictor, embedded, on_slice[None])[0]
    predicted_iou[first.chosen] = second.predicted_iou[0]
    notices = tuple(dict.fromkeys(first.notices + second.notices))
    return replace(
        first, slice_logits=slice_logits, logits=logits, predicted_iou=predicted_iou, notices=notices, refined=True
    )
