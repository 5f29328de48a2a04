"""What the network says about a slice when it is shown a mask of the same structure nearby."""

from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import tight_box
from SAMFinetuneLogic.models.preprocessing import MASK_PROMPT_LOGIT, SliceTransform
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.prompting.crops import crop_around
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import Crop, SliceImage
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.ends import Signature
from SAMFinetuneLogic.propagation.levels import Bounds, Patch, nothing

LARGE_ENOUGH = 64
"""An object with fewer input pixels along its longer side is looked at on a crop,"""
MIN_ZOOM = 1.25
"""if the crop is enlarged at least so much."""
PROMPT_LOGIT = 4.0
"""Sharpness of the mask prompt: the default model was trained with 2 to 8 for masks of neighbouring slices."""
BOX_MARGIN = 0.05
"""The box about the earlier mask is enlarged by this part of its sides, so that the structure may grow."""


@dataclass(frozen=True, eq=False)
class Look:
    """A slice, or a crop of it, through the encoder."""

    embedded: EmbeddedSlice

    @property
    def rectangle(self) -> Bounds:
        """Where it lies in the slice."""
        crop = self.embedded.image.crop
        rows, cols = self.embedded.image.shape
        row, col = (0, 0) if crop is None else (crop.row, crop.col)
        return row, col, row + rows - 1, col + cols - 1


class SliceReader:
    """Asks the network about slices of one volume.

    Args:
        predictor: its cache decides how much is encoded again.
        volume, window: the image.
        axis: of the slices.
        cancelled: asked before each answer.

    Raises:
        ModelError: the model takes neither masks nor boxes.
    """

    def __init__(
        self,
        predictor: SlicePredictor,
        volume: Volume,
        annotations: Annotations,
        window: Window,
        cancelled: CancelCheck | None = None,
    ) -> None:
        entry = predictor.model.entry
        if entry.encoder_only or not {"mask", "box"} & set(entry.prompts):
            raise ModelError(f"{entry.title} takes neither masks nor boxes: choose another model for propagation.")
        self.predictor = predictor
        self._volume = volume
        self._window = window
        self._axis = annotations.axis
        self._cancelled = cancelled

    def look(self, index: int, mask: np.ndarray) -> Look:
        """Encode a slice, close enough to see an object like ``mask`` (rows, cols)."""
        raise_if_cancelled(self._cancelled)
        image = SliceImage.of(self._volume, SliceIndex(self._axis, index), self._window)
        crop = self._crop(image, tight_box(mask))
        return Look(self.predictor.embed(image if crop is None else image.cropped(crop)))

    def follow(self, look: Look, mask: np.ndarray) -> Patch:
        """The levels of the structure that ``mask`` (rows, cols), of this slice or its neighbour, shows."""
        embedded, (row0, col0, row1, col1) = look.embedded, look.rectangle
        local = mask[row0 : row1 + 1, col0 : col1 + 1]
        if not local.any():
            return nothing(mask.shape)
        prompt = None
        if "mask" in self.predictor.model.entry.prompts:
            prompt = embedded.transform.mask_to_prompt(local, self.predictor.model.mask_size)[0].cpu().numpy()
            prompt = prompt * (PROMPT_LOGIT / MASK_PROMPT_LOGIT)
        box = _enlarged(local) if "box" in self.predictor.model.entry.prompts else None
        answer = self.predictor.predict(embedded, box=box, mask_logits=prompt, multimask=False)
        return Patch.of(answer.slice_logits[0], mask.shape, row0, col0)

    def signature(self, look: Look, mask: np.ndarray) -> Signature | None:
        """How ``mask`` (rows, cols) and what surrounds it look to the encoder."""
        row0, col0, row1, col1 = look.rectangle
        return Signature.of(look.embedded, mask[row0 : row1 + 1, col0 : col1 + 1], self.predictor.model.mask_size)

    def _crop(self, image: SliceImage, bounds: Bounds) -> Crop | None:
        preprocessing = self.predictor.model.preprocessing
        whole = SliceTransform(image.shape, image.spacing, preprocessing)
        side = max((bounds[2] - bounds[0] + 1) * whole.scale[0], (bounds[3] - bounds[1] + 1) * whole.scale[1])
        if side >= LARGE_ENOUGH:
            return None
        crop = crop_around(bounds, image.shape, image.spacing)
        closer = SliceTransform((crop.rows, crop.cols), image.spacing, preprocessing)
        return crop if max(closer.scale) >= MIN_ZOOM * max(whole.scale) else None


def _enlarged(mask: np.ndarray) -> np.ndarray:
    row0, col0, row1, col1 = tight_box(mask)
    margin = BOX_MARGIN * np.array([row1 - row0 + 1, col1 - col0 + 1])
    low = np.maximum(np.array([row0, col0]) - margin, 0)
    high = np.minimum(np.array([row1, col1]) + margin, np.array(mask.shape) - 1)
    return np.concatenate([low, high])
