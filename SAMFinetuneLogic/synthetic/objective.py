"""The training objective for masks and for their predicted quality."""

import torch
from torch.nn import functional

_IOU_WEIGHT = 4.0
"""The predicted IoU chooses what the user sees first; with less weight it ranked the candidates badly."""


def mask_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Dice loss plus twice the cross entropy for each candidate: logits (N, M, H, W), targets (N, H, W) -> (N, M)."""
    truth = targets.unsqueeze(1).to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none").mean(
        (2, 3)
    )
    probability = torch.sigmoid(logits)
    overlap = (probability * truth).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + truth.sum((2, 3)) + 1)
    return dice + 2 * entropy


def outline_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy (N,) within two pixels of the outline: logits (N, H, W), targets (N, H, W) bool.

    Over the whole image, the outline of a small structure weighs next to nothing. A target without outline gives 0.
    """
    truth = targets.to(logits.dtype)
    padded = functional.pad(truth.unsqueeze(1), (2, 2, 2, 2), mode="replicate")
    highest, lowest = functional.max_pool2d(padded, 5, stride=1), -functional.max_pool2d(-padded, 5, stride=1)
    band = (highest - lowest).squeeze(1)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (entropy * band).sum((1, 2)) / band.sum((1, 2)).clamp(min=1)


@torch.no_grad()
def overlaps(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and Dice (N, M) of the thresholded candidates."""
    predicted, truth = logits > 0, targets.unsqueeze(1)
    shared = (predicted & truth).sum((2, 3)).float()
    total = predicted.sum((2, 3)).float() + truth.sum((2, 3)).float()
    return (shared + 1e-6) / (total - shared + 1e-6), (2 * shared + 1e-6) / (total + 1e-6)


def round_loss(
    logits: torch.Tensor, predicted_iou: torch.Tensor, targets: torch.Tensor, ambiguous: torch.Tensor
) -> torch.Tensor:
    """Loss of one round: index 0 is the single answer, 1 to 3 are the candidates for ambiguous prompts.

    Of the three candidates the best one is trained, so that they come to stand for different answers; a little of
    their mean keeps all of them alive.
    """
    losses = mask_losses(logits, targets)
    best = losses[:, 1:].amin(1) + 0.05 * losses[:, 1:].mean(1)
    mask_part = losses[:, 0] + torch.where(ambiguous, 1.0, 0.15) * best
    iou, _ = overlaps(logits, targets)
    return mask_part.mean() + _IOU_WEIGHT * functional.mse_loss(predicted_iou, iou)
