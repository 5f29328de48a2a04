"""Labelled slices as the network's tensors: input and masks on the grid of the decoder's answer."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from SAMFinetuneLogic.finetuning.augmenting import Augmentation, augmented
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSlice
from SAMFinetuneLogic.metrics import tight_box
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.models.preprocessing_rule import Preprocessing
from SAMFinetuneLogic.prompting.crops import crop_around
from SAMFinetuneLogic.prompting.refine import SMALL_FRACTION, SMALL_INPUT_PIXELS

_ENOUGH = 2.0
"""Slices with more than so many times the network's pixels are made smaller once, before all augmentation."""


@dataclass(frozen=True, eq=False)
class View:
    """One look at a labelled slice.

    Attributes:
        input: float32 (3, S, S).
        masks: bool (classes, h, w) on the grid of the decoder's answer.
        content: bool (h, w): where the slice is, the rest being padding.
    """

    input: torch.Tensor
    masks: torch.Tensor
    content: torch.Tensor


class Grids(Protocol):
    """What is asked of a model here."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Of its input."""
        ...

    @property
    def mask_size(self) -> tuple[int, int]:
        """Of its answer."""
        ...


class ViewMaker:
    """Makes views for one model.

    Args:
        model: whose preprocessing and mask size count.
        values: of the classes, in the order of the masks.
    """

    def __init__(self, model: Grids, values: tuple[int, ...]) -> None:
        self.preprocessing, self.mask_size, self.values = model.preprocessing, model.mask_size, values

    def plain(self, entry: LabelledSlice) -> View:
        """The slice as it is."""
        transform = SliceTransform(entry.labels.shape, entry.spacing, self.preprocessing)
        planes = np.stack([entry.labels == value for value in self.values])
        shares = F.interpolate(
            torch.from_numpy(planes[None].astype(np.float32)),
            transform.content_shape,
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        return View(
            transform.prepare(entry.pixels),
            self._on_grid(shares)[0] > 0.5,
            self._on_grid(torch.ones_like(shares[:, :1]))[0, 0] > 0.5,
        )

    def augmented(self, entry: LabelledSlice, augmentation: Augmentation, rng: np.random.Generator) -> View:
        """Another look at it."""
        copy = augmented(entry, augmentation, rng)
        if rng.random() < augmentation.closeups:
            copy = self._closeup(copy, rng)
        return self.plain(copy)

    def showing(self, entry: LabelledSlice, number: int) -> View | None:
        """A view that shows a class: the whole slice or, if it is too small there, a crop; None if still too small.

        Args:
            number: of the class, counted from 0.
        """
        view = self.plain(entry)
        if view.masks[number].any():
            return view
        mask = entry.labels == self.values[number]
        if not mask.any():
            return None
        crop = crop_around(tight_box(mask), entry.labels.shape, entry.spacing)
        view = self.plain(replace(entry, pixels=entry.pixels[crop.slices], labels=entry.labels[crop.slices]))
        return view if view.masks[number].any() else None

    def reduced(self, entry: LabelledSlice) -> LabelledSlice:
        """The slice, made smaller where it has far more pixels than the network sees."""
        limit = _ENOUGH * self.preprocessing.size
        factor = int(max(entry.labels.shape) // limit)
        if factor < 2:
            return entry
        rows, cols = (length // factor * factor for length in entry.labels.shape)
        pixels = entry.pixels[:rows, :cols].astype(np.float32)
        blocks = pixels.reshape(rows // factor, factor, cols // factor, factor, *pixels.shape[2:])
        small = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
        labels = entry.labels[factor // 2 : rows : factor, factor // 2 : cols : factor]
        spacing = (entry.spacing[0] * factor, entry.spacing[1] * factor)
        return replace(entry, pixels=small, labels=labels, spacing=spacing)

    def _closeup(self, entry: LabelledSlice, rng: np.random.Generator) -> LabelledSlice:
        """A crop about one structure, if one is so small that the product would look closer."""
        scale = SliceTransform(entry.labels.shape, entry.spacing, self.preprocessing).scale
        small = []
        for value in self.values:
            mask = entry.labels == value
            if not mask.any():
                continue
            box = tight_box(mask)
            side = max((box[2] - box[0] + 1) * scale[0], (box[3] - box[1] + 1) * scale[1])
            if side < min(SMALL_INPUT_PIXELS, SMALL_FRACTION * self.preprocessing.size):
                small.append(box)
        if not small:
            return entry
        crop = crop_around(small[int(rng.integers(len(small)))], entry.labels.shape, entry.spacing)
        return replace(entry, pixels=entry.pixels[crop.slices], labels=entry.labels[crop.slices])

    def _on_grid(self, content: torch.Tensor) -> torch.Tensor:
        """Shares (1, N, rows, cols) of the input's content, padded and averaged over the cells of the grid."""
        size = self.preprocessing.size
        padded = F.pad(content, (0, size - content.shape[-1], 0, size - content.shape[-2]))
        return F.adaptive_avg_pool2d(padded, self.mask_size)
