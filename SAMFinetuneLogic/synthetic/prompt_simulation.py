"""Prompts that a user might give, simulated for whole batches of masks with tensor operations.

Labels are those of :class:`DrawnPromptEncoder`: 1 positive, 0 negative, -1 none, 2 and 3 a box's corners.
"""

import numpy as np
import torch
from scipy import ndimage


def depth_inside(masks: torch.Tensor) -> torch.Tensor:
    """Chessboard distance (B, H, W) to the outside of bool ``masks``, in pixels; the image's edge counts as outside.

    A cheap stand-in for the Euclidean distance transform: it has its maximum at about the same place.
    """
    depth = np.zeros(masks.shape, dtype=np.float32)
    for each, mask in zip(depth, masks.numpy(), strict=True):
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if rows.size:
            inside = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
            distance = ndimage.distance_transform_cdt(np.pad(inside, 1), "chessboard")
            each[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] = distance[1:-1, 1:-1]
    return torch.from_numpy(depth)


def random_pixels(masks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One random pixel (B, 2) as x, y in each mask; pixel 0, 0 for an empty mask."""
    return _highest(masks.float() * (1 + torch.rand(masks.shape, generator=generator)))


def pick_pixels(depth: torch.Tensor, share_central: float, generator: torch.Generator) -> torch.Tensor:
    """One pixel (B, 2) as x, y where ``depth`` (B, H, W) is positive: the deepest in a share of cases, else any."""
    central = torch.rand(len(depth), generator=generator) < share_central
    random = torch.rand(depth.shape, generator=generator)
    return _highest(torch.where(central[:, None, None], depth + 0.9 * random, (depth > 0).float() * (1 + random)))


def _highest(score: torch.Tensor) -> torch.Tensor:
    best, width = score.flatten(1).argmax(1), score.shape[-1]
    return torch.stack([best % width, best // width], dim=1).float()


def tight_boxes(masks: torch.Tensor) -> torch.Tensor:
    """Corners (B, 2, 2) as x, y of the first and last pixel of each mask."""
    cols, rows = masks.any(1), masks.any(2)
    size = masks.shape[-1]

    def ends(profile: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = profile.float()
        return values.argmax(1).float(), size - 1 - values.flip(1).argmax(1).float()

    (x0, x1), (y0, y1) = ends(cols), ends(rows)
    return torch.stack([torch.stack([x0, y0], 1), torch.stack([x1, y1], 1)], 1)


def jitter_boxes(boxes: torch.Tensor, amount: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Move the corners by a normal error of ``amount`` (B,) times the box's sides; kept in the image, not inverted."""
    sides = (boxes[:, 1] - boxes[:, 0] + 1).unsqueeze(1)
    error = torch.randn(boxes.shape, generator=generator).clamp(-2, 2)
    moved = boxes + error * amount[:, None, None] * sides
    low = torch.minimum(moved[:, 0], moved[:, 1])
    high = torch.maximum(moved[:, 0], moved[:, 1])
    return torch.stack([low, high], 1).clamp(0, size - 1)


def corrective_clicks(
    targets: torch.Tensor, predictions: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A click (B, 2) and its label (B,) in the deeper of missed and wrongly included regions; label -1 if perfect."""
    depth_missed, depth_excess = depth_inside(targets & ~predictions), depth_inside(predictions & ~targets)
    positive = depth_missed.flatten(1).amax(1) >= depth_excess.flatten(1).amax(1)
    depth = torch.where(positive[:, None, None], depth_missed, depth_excess)
    labels = positive.float()
    labels[depth.flatten(1).amax(1) == 0] = -1
    return pick_pixels(depth, 0.6, generator), labels
