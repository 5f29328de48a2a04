"""Closer looks: at small structures, and at what is in a box.

An object that covers few of the network's input pixels gets a coarse outline. It is looked at again on a crop around
it, which fills the network's input: with the same prompts, and with the first mask as mask prompt. A box tells from
the start where the object is; a network with a coarse input looks at nothing else.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy import special

from SAMFinetuneLogic.metrics import box_iou, tight_box
from SAMFinetuneLogic.prompting.box_evidence import with_gray_values
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.crops import (
    MARGIN,
    OUTSIDE_LOGIT,
    Bounds,
    crop_around,
    crop_around_box,
    into_crop,
    object_bounds,
    out_of_crop,
    touches_inner_sides,
)
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import Crop, SliceImage

SMALL_FRACTION = 1 / 3
"""An object is small if its longer side covers less than this part of the network input's side,"""
SMALL_INPUT_PIXELS = 64
"""and fewer than so many input pixels: SAM's 1024 pixels need no second look at a third of them."""
MIN_ZOOM = 1.25
"""A crop that is enlarged by less than this shows nothing new,"""
MIN_BOX_ZOOM = 1.1
"""and this for the crop around a box, which is the only look."""
_COVERED_LOGIT = 1.0
COARSE_INPUT = 256
"""Networks with an input of at most so many pixels a side look closer more often: into each box, around a single click,
and at what several clicks tell. For a finer one the whole slice is fine enough, and one more look takes long."""
CORRECTED_FRACTION = 0.6
"""Such a network looks closer at an object of less than this part of its input's side once there are several clicks,"""
CORRECTED_MARGIN = 1.5
"""on a crop so many times the object's size: a corrected answer is hardly larger than the object."""
BOX_INPUT = 224
"""Pixels a side of the input for the crop around a box, where the weights are not bound to one size: outlines get
sharper. With 256 it is no better, and carelessly drawn boxes lose."""
SINGLE_MASK_BONUS = 0.05
"""By so much IoU with the box must the extent of another candidate be better to come before the single mask."""


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
        found = embedded.transform.logits_to_slice(torch.as_tensor(earlier)[None]).cpu().numpy()[0]
    crop = _closer_look(predictor, embedded, prompts, found > 0)
    if crop is None:
        return first
    closer = predictor.embed(embedded.image.cropped(crop))
    coarse = found[crop.slices]
    inside = into_crop(prompts, crop)
    mask_prompt = None
    if "mask" in predictor.model.entry.prompts and (coarse > 0).any():
        mask_prompt = closer.transform.mask_to_prompt(coarse, predictor.model.mask_size)[0].cpu().numpy()
    box = inside.boxes[0] if len(inside.boxes) else None
    second = predictor.predict(closer, inside.points, inside.labels, box, mask_prompt, multimask=False)
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


def look_into_box(predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts) -> Candidates | None:
    """The answer to a box, and to clicks in it, on a crop around the box, or on the slice if that shows as much.

    Of the candidates for a box alone, the one whose extent fits it best counts. It comes first corrected by the
    :mod:`gray values <SAMFinetuneLogic.prompting.box_evidence>`, then what else these allow, and at last as it was.

    Args:
        predictor: the model.
        embedded: the whole slice.
        prompts: with one box.

    Returns:
        None where the network's input is fine enough for the whole slice, and where nothing is found.
    """
    if not looks_into_boxes(predictor) or len(prompts.boxes) != 1:
        return None
    crop = _box_crop(embedded, prompts)
    closer = predictor.finer(BOX_INPUT) if predictor.model.preprocessing.size < BOX_INPUT else predictor
    view = closer.embed(embedded.image if crop is None else embedded.image.cropped(crop))
    inside = prompts if crop is None else into_crop(prompts, crop)
    alone = not len(inside.points) and predictor.model.entry.multimask
    found = closer.predict(view, inside.points, inside.labels, inside.boxes[0], multimask=alone)
    order = _by_fit(found.masks, inside.boxes[0])
    if not found.masks[order[0]].any():
        return None
    logits, ratings = found.slice_logits[order], found.predicted_iou[order]
    if alone:
        logits, ratings = _with_gray_values(view.image, inside.boxes[0], logits, ratings)
    if crop is not None:
        logits = out_of_crop(logits, crop, embedded.image.shape)
    coarse = as_mask_prompts(predictor, embedded, logits)
    refined = crop is not None
    return Candidates(logits, coarse, ratings, notices=found.notices, refined=refined)


def _with_gray_values(
    image: SliceImage, box: np.ndarray, logits: np.ndarray, ratings: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first answer corrected by the gray values, their alternatives, and the first answer; with predicted IoUs.

    An alternative is rated by the IoU that the network's probabilities let expect. Without contrast all stays.
    """
    pixels = image.to_uint8()
    gray = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    answer = logits[0]
    corrected, *others = with_gray_values(gray, box, answer)
    if corrected is answer:
        return logits, ratings
    probability = special.expit(answer)
    expected = [_expected_iou(other > 0, probability) for other in others]
    ratings = np.array([ratings[0], *(min(each, ratings[0]) for each in expected), ratings[0]], dtype=ratings.dtype)
    return np.stack([corrected, *others, answer]), ratings


def _expected_iou(mask: np.ndarray, probability: np.ndarray) -> float:
    shared = float(probability[mask].sum())
    return shared / (float(probability.sum()) + np.count_nonzero(mask) - shared)


def looks_into_boxes(predictor: SlicePredictor) -> bool:
    """Whether the model answers a box on a crop around it."""
    return sees_coarsely(predictor) and "box" in predictor.model.entry.prompts


def sees_coarsely(predictor: SlicePredictor) -> bool:
    """Whether the network's input is so coarse that closer looks pay beyond small objects."""
    return predictor.model.preprocessing.size <= COARSE_INPUT


def as_mask_prompts(predictor: SlicePredictor, embedded: EmbeddedSlice, logits: np.ndarray) -> np.ndarray:
    """Logits (n, rows, cols) on the slice in the resolution of the network's mask prompts, (n, h, w).

    What is smaller than a cell of that resolution would be lost in the mean over the cell: then the cells that it
    covers best are inside.
    """
    size = predictor.model.mask_size
    prompts = np.stack([embedded.transform.mask_to_prompt(each, size)[0].cpu().numpy() for each in logits])
    for each, prompt in zip(logits, prompts, strict=True):
        if (each > 0).any() and not (prompt > 0).any():
            prompt[prompt == prompt.max()] = _COVERED_LOGIT
    return prompts


def _box_crop(embedded: EmbeddedSlice, prompts: SlicePrompts) -> Crop | None:
    """The crop around the box, or None if it shows hardly more than the slice does."""
    crop = crop_around_box(prompts.boxes[0], embedded.image.shape, embedded.image.spacing)
    return crop if enlargement(embedded, crop) >= MIN_BOX_ZOOM else None


def _by_fit(masks: np.ndarray, box: np.ndarray) -> list[int]:
    """The order of masks (n, rows, cols) by the IoU of their extent with a box; a bonus is given to the first."""
    fits = [SINGLE_MASK_BONUS if number == 0 else 0.0 for number in range(len(masks))]
    for number, mask in enumerate(masks):
        if mask.any():
            fits[number] += box_iou(np.array(tight_box(mask)), box)
    return sorted(range(len(masks)), key=lambda number: -fits[number])


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
        return _box_crop(embedded, prompts)
    bounds, corrected = object_bounds(mask, prompts), len(prompts.points) > 1 and sees_coarsely(predictor)
    if bounds is None or not _is_small(bounds, embedded, corrected):
        return None
    if "mask" not in predictor.model.entry.prompts and not len(prompts.points) and not len(prompts.boxes):
        return None
    margin = CORRECTED_MARGIN if corrected else MARGIN
    crop = crop_around(bounds, embedded.image.shape, embedded.image.spacing, margin)
    return crop if enlargement(embedded, crop) >= MIN_ZOOM else None


def enlargement(embedded: EmbeddedSlice, crop: Crop) -> float:
    """How many times larger the network sees a crop than it sees the same part of the slice."""
    (rows, cols), (row_mm, col_mm) = embedded.image.shape, embedded.image.spacing
    if embedded.transform.preprocessing.geometry == "longest_pad":
        # Both sides are scaled alike, so that the longer one tells.
        return max(rows * row_mm, cols * col_mm) / max(crop.rows * row_mm, crop.cols * col_mm)
    return min(rows / crop.rows, cols / crop.cols)


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
