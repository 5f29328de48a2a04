"""A brush that paints scribbles into a scratch segment.

The scratch segment lies in a hidden segmentation of its own that is never saved: no segmentation of the user ever holds
it, so that it is never exported, propagated or learned from. What was painted is kept as prompts of the session.
"""

from typing import Any

import numpy as np

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.preview import SEGMENT, Preview
from SAMFinetuneLogic.mrml.scribbles import scribble_prompts
from SAMFinetuneLogic.prompting.prompts import Position, ScribblePrompt


class ScratchBrush:
    """Paints on one slice.

    Args:
        scene: where the painting is shown.
        volume: gives the grid, in world RAS.
        slice_index: where to paint.
        radius: of the brush in mm; it always reaches the nearest pixel.
        positive: whether what is painted belongs to the structure.
        color: to show it in.

    Attributes:
        node: the scratch segmentation.

    Example:
        >>> brush = ScratchBrush(scene, volume, SliceIndex("k", 12), 2.5, True, (0, 1, 0))
        >>> brush.stroke((10.0, -4.0, 31.0), (18.0, -4.0, 31.0))
        >>> prompts = brush.take()
    """

    def __init__(
        self,
        scene: Any,
        volume: Volume,
        slice_index: SliceIndex,
        radius: float,
        positive: bool,
        color: tuple[float, float, float],
    ) -> None:
        self._volume, self._slice, self._positive, self._color = volume, slice_index, positive, color
        self._radius = radius
        self._mask = np.zeros(volume.slice_shape(slice_index.axis), dtype=bool)
        self._preview = Preview(scene, volume, "SAMFinetune scribble")
        self.node = self._preview.node

    def stroke(self, start: Position, end: Position) -> None:
        """Paint along a straight line between two RAS positions (mm); what lies beside the slice is brought onto it."""
        axis = self._slice.axis
        first, last = self._volume.ras_to_slice(np.array([start, end]), axis)[:, 1:]
        corner, row, col = self._volume.slice_to_ras(np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]]), axis)
        # (row, col) to mm in the slice's plane, whose axes need not be at right angles.
        to_mm = np.linalg.qr(np.stack([row - corner, col - corner], axis=1))[1].T
        radius = max(self._radius, float(np.linalg.norm(self._volume.slice_spacing(axis))) / 2)
        reach = radius / np.linalg.svd(to_mm, compute_uv=False).min()
        low = np.clip(np.floor(np.minimum(first, last) - reach), 0, self._mask.shape).astype(int)
        high = np.clip(np.ceil(np.maximum(first, last) + reach) + 1, 0, self._mask.shape).astype(int)
        pixels = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
        away, line = (pixels - first) @ to_mm, (last - first) @ to_mm
        along = np.clip(away @ line / max(float(line @ line), 1e-12), 0.0, 1.0)
        near = ((away - along[..., None] * line) ** 2).sum(axis=-1) <= radius**2
        self._mask[low[0] : high[0], low[1] : high[1]] |= near
        self._preview.show(self._slice, self._mask, self._color)

    def take(self) -> tuple[ScribblePrompt, ...]:
        """The scratch segment as prompts, one for each connected piece; it is empty afterwards."""
        found = scribble_prompts(self.node, SEGMENT, self._volume, self._slice.axis, self._positive)
        self._mask[:] = False
        self._preview.clear()
        return found

    def remove(self) -> None:
        """Take the scratch segmentation out of the scene."""
        self._preview.remove()
