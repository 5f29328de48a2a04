"""The answer to a box: on a crop around it, by the model and by the gray values.

A box tells from the start where the object is; a network with a coarse input looks at nothing else.
"""

import numpy as np
from scipy import ndimage, special

from SAMFinetuneLogic.prompting.box_evidence import with_gray_values
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.closer_look import as_mask_prompts, enlargement, sees_coarsely
from SAMFinetuneLogic.prompting.crops import crop_around_box, extent_iou, into_crop, out_of_crop
from SAMFinetuneLogic.prompting.islands import OUTSIDE_LOGIT, TOUCHING
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import Crop, SliceImage

MIN_BOX_ZOOM = 1.1
"""The crop around a box, which is the only look, is to be enlarged by so much at least."""
BOX_INPUT = 224
"""Pixels a side of the input for the crop around a box, where the weights are not bound to one size: outlines get
sharper. With 256 it is no better, and carelessly drawn boxes lose."""
SINGLE_MASK_BONUS = 0.05
"""By so much IoU with the box must the extent of another candidate be better to come before the single mask."""
REACH = 0.05
"""One part reaches as far as all parts if the IoU of its extent with the box is less by at most so much."""


def look_into_box(predictor: SlicePredictor, embedded: EmbeddedSlice, prompts: SlicePrompts) -> Candidates | None:
    """The answer to a box, and to clicks in it, on a crop around the box, or on the slice if that shows as much.

    Of the candidates for a box alone, the one whose extent fits it best counts. It comes first corrected by the
    :mod:`gray values <SAMFinetuneLogic.prompting.box_evidence>`, and without what lies beside a part that fills the box
    (:func:`beside_what_fills`), then what else the gray values allow, and at last as it was.

    Args:
        predictor: the model.
        embedded: the whole slice.
        prompts: with one box.

    Returns:
        None where the network's input is fine enough for the whole slice, and where nothing is found.
    """
    if not looks_into_boxes(predictor) or len(prompts.boxes) != 1:
        return None
    crop = box_crop(embedded, prompts)
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
        logits[0][beside_what_fills(logits[0] > 0, inside.boxes[0])] = OUTSIDE_LOGIT
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
    answer = logits[0]
    corrected, *others = with_gray_values(image.gray, box, answer, image.spacing)
    if corrected is answer:
        return logits, ratings
    probability = special.expit(answer)
    expected = [_expected_iou(other > 0, probability) for other in others]
    ratings = np.array([ratings[0], *(min(each, ratings[0]) for each in expected), ratings[0]], dtype=ratings.dtype)
    return np.stack([corrected, *others, answer]), ratings


def beside_what_fills(mask: np.ndarray, box: np.ndarray) -> np.ndarray:
    """What lies beside the largest part of an answer, if that part reaches as far as all of them.

    A tight box tells how far the structure reaches. What reaches as far by itself is the structure, and the rest is
    something else of the same gray, such as the stomach in the spleen's box. A structure of several parts needs them
    all to fill its box.

    Args:
        mask: boolean (rows, cols).
        box: (row0, col0, row1, col1), centres of the first and last pixels.

    Returns:
        Boolean (rows, cols), nothing where the parts are needed.
    """
    parts, count = ndimage.label(mask, TOUCHING)
    if count < 2:
        return np.zeros_like(mask)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return mask & ~largest if extent_iou(largest, box) >= extent_iou(mask, box) - REACH else np.zeros_like(mask)


def _expected_iou(mask: np.ndarray, probability: np.ndarray) -> float:
    shared = float(probability[mask].sum())
    return shared / (float(probability.sum()) + np.count_nonzero(mask) - shared)


def looks_into_boxes(predictor: SlicePredictor) -> bool:
    """Whether the model answers a box on a crop around it."""
    return sees_coarsely(predictor) and "box" in predictor.model.entry.prompts


def box_crop(embedded: EmbeddedSlice, prompts: SlicePrompts) -> Crop | None:
    """The crop around the box, or None if it shows hardly more than the slice does."""
    crop = crop_around_box(prompts.boxes[0], embedded.image.shape, embedded.image.spacing)
    return crop if enlargement(embedded, crop) >= MIN_BOX_ZOOM else None


def _by_fit(masks: np.ndarray, box: np.ndarray) -> list[int]:
    """The order of masks (n, rows, cols) by the IoU of their extent with a box; a bonus is given to the first."""
    fits = [SINGLE_MASK_BONUS if number == 0 else 0.0 for number in range(len(masks))]
    for number, mask in enumerate(masks):
        fits[number] += extent_iou(mask, box)
    return sorted(range(len(masks)), key=lambda number: -fits[number])
