"""What training lowers. Prompt mode uses the default model's own objective, automatic mode paper A's."""

import torch
import torch.nn.functional as F

from SAMFinetuneLogic.synthetic.objective import overlaps, round_loss

__all__ = ["automatic_loss", "overlaps", "prompt_loss", "shown"]


def prompt_loss(
    logits: torch.Tensor, predicted_iou: torch.Tensor, targets: torch.Tensor, ambiguous: torch.Tensor
) -> torch.Tensor:
    """Dice and cross entropy of the single answer and of the best candidate, and the error of the predicted IoU.

    Args:
        logits: (N, 4, h, w); index 0 is the single answer.
        predicted_iou: (N, 4).
        targets: (N, h, w) bool.
        ambiguous: (N,) bool: one click, to which the product may show one of the three candidates.
    """
    return round_loss(logits, predicted_iou, targets, ambiguous)


def shown(logits: torch.Tensor, predicted_iou: torch.Tensor, ambiguous: torch.Tensor) -> torch.Tensor:
    """What the user would see (N, 1, h, w): the best-rated candidate of an ambiguous prompt, else the answer."""
    choice = torch.where(ambiguous, 1 + predicted_iou[:, 1:].argmax(1), 0)
    return logits.detach()[torch.arange(len(choice), device=choice.device), choice].unsqueeze(1)


def automatic_loss(logits: torch.Tensor, labels: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """Dice (squared denominator, without background) and cross entropy, one to one, within the slice.

    Args:
        logits: (N, 1 + classes, h, w); index 0 is background.
        labels: (N, h, w) integers, 0 for background.
        content: (N, h, w) bool: padding does not count.

    Source: mazurowski-lab/finetune-SAM uses Dice with squared denominator and cross entropy; its Dice counts the
    background, ours does not.
    """
    inside = content.to(logits.dtype)
    entropy = F.cross_entropy(logits, labels, reduction="none")
    entropy = (entropy * inside).sum() / inside.sum().clamp(min=1)
    probability = torch.softmax(logits, 1)[:, 1:] * inside.unsqueeze(1)
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(logits.dtype)
    # Over the batch, not per slice: on a slice without a class, Dice per slice would say nothing but 0.
    overlap = (probability * truth).sum((0, 2, 3))
    total = probability.square().sum((0, 2, 3)) + truth.sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    dice = 1 - (2 * overlap + 1e-5) / (total + 1e-5)
    dice = (dice * present).sum() / present.sum().clamp(min=1)
    return dice + entropy
