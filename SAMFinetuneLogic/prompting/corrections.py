"""Further clicks on a coarse network: they correct what was found before, so it looks there, and nowhere else.

Asked on the whole slice first, a network with a coarse input loses small structures that it had found, and the second
click made answers worse on average.
"""

import numpy as np
import torch

from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.crops import (
    crop_around,
    into_crop,
    object_bounds,
    out_of_crop,
    touches_inner_sides,
)
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.refine import MIN_ZOOM, as_mask_prompts, enlargement, sees_coarsely

SIDES = 2
"""An answer that reaches so many of the crop's inner sides, or all of them, is larger than the crop shows."""


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
    before = embedded.transform.logits_to_slice(torch.as_tensor(earlier)[None]).cpu().numpy()[0]
    bounds = object_bounds(before > 0, prompts)
    if bounds is None:
        return None
    crop = crop_around(bounds, embedded.image.shape, embedded.image.spacing)
    if enlargement(embedded, crop) < MIN_ZOOM:
        return None
    closer, inside = predictor.embed(embedded.image.cropped(crop)), into_crop(prompts, crop)
    mask_prompt = closer.transform.mask_to_prompt(before[crop.slices], predictor.model.mask_size)[0].cpu().numpy()
    found = predictor.predict(closer, inside.points, inside.labels, None, mask_prompt, multimask=False)
    shape = embedded.image.shape
    sides = touches_inner_sides(found.mask, crop, shape)
    if not found.mask.any() or sum(sides) >= min(SIDES, max(1, len(sides))):
        return None
    logits = out_of_crop(found.slice_logits, crop, shape)
    coarse = as_mask_prompts(predictor, embedded, logits)
    return Candidates(logits, coarse, found.predicted_iou, notices=found.notices, refined=True)
