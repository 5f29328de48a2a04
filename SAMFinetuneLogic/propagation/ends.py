"""Where a followed structure has come to its end."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from SAMFinetuneLogic.metrics import iou
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice

MIN_OVERLAP = 0.2
"""Least IoU of the masks of two neighbouring slices."""
MIN_AREA = 0.04
"""Least area, as a part of that on the slice that the track came from."""
MAX_GROWTH = 2.5
"""Most that the area may grow from one slice to the next: beyond, the mask has leaked."""
_RING = 5


@dataclass(frozen=True, eq=False)
class Signature:
    """How a structure and its surroundings look to the encoder.

    Attributes:
        inside, around: (C,) unit vectors, the mean embeddings of the mask and of a ring about it.
    """

    inside: torch.Tensor
    around: torch.Tensor

    @classmethod
    def of(cls, embedded: EmbeddedSlice, mask: np.ndarray, mask_size: tuple[int, int]) -> "Signature | None":
        """Masked average pooling; None if the mask (rows, cols) leaves no surroundings, or is too small to be seen."""
        height, width = embedded.embedding.shape[-2:]
        prompt = embedded.transform.mask_to_prompt(mask, mask_size)
        inside = F.adaptive_avg_pool2d(torch.sigmoid(prompt), (height, width))[0].to(embedded.embedding.device)
        grown = F.max_pool2d(inside[None, None], _RING, stride=1, padding=_RING // 2)[0, 0]
        around = (grown - inside).clamp(min=0)
        if inside.sum() < 0.5 or around.sum() < 0.5:
            return None
        features = embedded.embedding[0]
        pooled = [torch.einsum("chw,hw->c", features, weight) for weight in (inside, around)]
        return cls(*(F.normalize(vector, dim=0) for vector in pooled))

    def resembles(self, origin: "Signature") -> bool:
        """Whether the inside is more like the origin's inside than like its surroundings, and clearly so.

        A network redraws the mask that it is shown, also where the structure has ended: then only the look tells. It
        has ended where it is less alike to the origin than half way from the origin's surroundings to the origin.
        """
        likeness, contrast = float(self.inside @ origin.inside), float(origin.inside @ origin.around)
        return likeness > max(float(self.inside @ origin.around), (1 + contrast) / 2)


def has_ended(
    origin: np.ndarray,
    previous: np.ndarray,
    found: np.ndarray,
    then: Signature | None,
    now: Signature | None,
) -> bool:
    """Whether a mask is no longer the structure that was followed.

    Args:
        origin: the mask that the track came from; all masks are boolean (rows, cols).
        previous: that of the neighbouring slice.
        found: the new one.
        then, now: how ``origin`` and ``found`` look; None where that cannot be told.
    """
    area = np.count_nonzero(found)
    if area < MIN_AREA * np.count_nonzero(origin) or area > MAX_GROWTH * np.count_nonzero(previous):
        return True
    if iou(previous, found) < MIN_OVERLAP:
        return True
    return then is not None and now is not None and not now.resembles(then)
