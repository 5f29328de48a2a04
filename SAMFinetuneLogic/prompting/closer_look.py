"""A part of a slice shown to the network by itself, so that it fills the network's input."""

import numpy as np
import torch

from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.crops import into_crop, out_of_crop
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import Crop

COARSE_INPUT = 256
"""Networks with an input of at most so many pixels a side look closer more often: into each box, around a single click,
and at what several clicks tell. For a finer one the whole slice is fine enough, and one more look takes long."""
MIN_ZOOM = 1.25
"""A crop that is enlarged by less than this shows nothing new."""
_COVERED_LOGIT = 1.0


def ask_on_crop(
    predictor: SlicePredictor,
    embedded: EmbeddedSlice,
    prompts: SlicePrompts,
    crop: Crop,
    before: np.ndarray | None = None,
    multimask: bool | None = None,
) -> Candidates:
    """The answer to prompts on a crop of a slice.

    Args:
        predictor: the model.
        embedded: the whole slice.
        prompts: on it, with one box at most.
        crop: the part that is shown.
        before: logits (rows, cols) on the slice of an answer to start from, for models that take masks.
        multimask: see :meth:`SlicePredictor.predict`.

    Returns:
        Candidates of the crop's shape.
    """
    closer, inside = predictor.embed(embedded.image.cropped(crop)), into_crop(prompts, crop)
    mask_prompt = None
    if before is not None and "mask" in predictor.model.entry.prompts:
        mask_prompt = closer.transform.mask_to_prompt(before[crop.slices], predictor.model.mask_size)[0].cpu().numpy()
    box = inside.boxes[0] if len(inside.boxes) else None
    return predictor.predict(closer, inside.points, inside.labels, box, mask_prompt, multimask=multimask)


def on_slice(predictor: SlicePredictor, embedded: EmbeddedSlice, found: Candidates, crop: Crop) -> Candidates:
    """The candidates of a crop, placed on the slice."""
    logits = out_of_crop(found.slice_logits, crop, embedded.image.shape)
    return Candidates(
        logits, as_mask_prompts(predictor, embedded, logits), found.predicted_iou, notices=found.notices, refined=True
    )


def earlier_logits(embedded: EmbeddedSlice, mask_prompt: np.ndarray) -> np.ndarray:
    """A mask prompt, low resolution logits (h, w), as float32 logits (rows, cols) on the slice."""
    return embedded.transform.logits_to_slice(torch.as_tensor(mask_prompt)[None]).cpu().numpy()[0]


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


def enlargement(embedded: EmbeddedSlice, crop: Crop) -> float:
    """How many times larger the network sees a crop than it sees the same part of the slice."""
    (rows, cols), (row_mm, col_mm) = embedded.image.shape, embedded.image.spacing
    if embedded.transform.preprocessing.geometry == "longest_pad":
        # Both sides are scaled alike, so that the longer one tells.
        return max(rows * row_mm, cols * col_mm) / max(crop.rows * row_mm, crop.cols * col_mm)
    return min(rows / crop.rows, cols / crop.cols)
