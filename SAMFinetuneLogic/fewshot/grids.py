"""Labels on the network's grids: how much of each cell of the embedding or the logits each class covers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from SAMFinetuneLogic.models.preprocessing import SliceTransform


@dataclass(frozen=True, eq=False)
class LabelGrids:
    """One labelled slice on the two grids of the network; class 0 is the background.

    Attributes:
        coarse: float32 (n + 1, h, w) on the embedding's grid: the fraction of each cell that a class covers. Cells in
            the padding belong to nothing.
        fine: float32 (n + 1, 4h, 4w), the same on the decoder's grid.
    """

    coarse: torch.Tensor
    fine: torch.Tensor

    @property
    def valid(self) -> torch.Tensor:
        """float32 (1, 4h, 4w): how much of a cell is image and not padding."""
        return self.fine.sum(0, keepdim=True)


def label_grids(
    labels: np.ndarray, values: tuple[int, ...], transform: SliceTransform, grid: tuple[int, int]
) -> LabelGrids:
    """Area-down-sampled labels.

    Args:
        labels: (rows, cols).
        values: of the classes, in the decoder's order.
        transform: of the slice.
        grid: (h, w) of the embedding.
    """
    planes = torch.from_numpy(np.stack([~np.isin(labels, values), *(labels == value for value in values)]))
    resized = functional.interpolate(
        planes.float()[None], transform.content_shape, mode="bilinear", align_corners=False, antialias=True
    )
    size, (height, width) = transform.preprocessing.size, transform.content_shape
    padded = functional.pad(resized, (0, size - width, 0, size - height))
    fine = functional.adaptive_avg_pool2d(padded, (4 * grid[0], 4 * grid[1]))[0]
    return LabelGrids(functional.avg_pool2d(fine, 4), fine)
