"""What the decoder is trained for: Dice and cross entropy, 1:1 (paper A's loss; paper B's abstract names none)."""

import torch
from torch.nn import functional

from SAMFinetuneLogic.fewshot.settings import Background


def class_probabilities(logits: torch.Tensor, background: Background, dim: int) -> torch.Tensor:
    """Class logits (n along ``dim``) -> probabilities (n + 1 along ``dim``), the background first.

    With "sigmoid", which leaves classes free to overlap, the background has what the likeliest class leaves.
    """
    if background == "softmax":
        zero = torch.zeros_like(logits.narrow(dim, 0, 1))
        return torch.softmax(torch.cat([zero, logits], dim), dim)
    each = torch.sigmoid(logits)
    return torch.cat([1 - each.amax(dim, keepdim=True), each], dim)


def fewshot_loss(logits: torch.Tensor, fractions: torch.Tensor, background: Background) -> torch.Tensor:
    """Mean over the batch.

    Args:
        logits: (B, n, H, W).
        fractions: (B, n + 1, H, W), coverage of each class; all 0 in the padding, which does not count.
    """
    inside = fractions.sum(1)
    pixels = inside.sum((1, 2)).clamp(min=1.0)
    if background == "softmax":
        zero = torch.zeros_like(logits[:, :1])
        log_share = torch.log_softmax(torch.cat([zero, logits], 1), 1)
        entropy = -(fractions * log_share).sum(1)
        probability = log_share.exp()[:, 1:]
    else:
        each = functional.binary_cross_entropy_with_logits(logits, fractions[:, 1:], reduction="none")
        entropy = each.sum(1) * inside
        probability = torch.sigmoid(logits)
    probability = probability * inside.unsqueeze(1)
    truth = fractions[:, 1:]
    overlap = (probability * truth).sum((2, 3))
    total = probability.sum((2, 3)) + truth.sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return (dice.mean(1) + entropy.sum((1, 2)) / pixels).mean()


@torch.no_grad()
def grid_dice(logits: torch.Tensor, fractions: torch.Tensor) -> float:
    """Dice of the arg-max on one slice's logits (n, H, W), mean over the classes present in truth or prediction."""
    zero = torch.zeros_like(logits[:1])
    predicted = torch.cat([zero, logits]).argmax(0)
    truth = fractions.argmax(0)
    valid = fractions.sum(0) > 0.5
    scores = []
    for kind in range(1, len(fractions)):
        a, b = (predicted == kind) & valid, (truth == kind) & valid
        total = int(a.sum() + b.sum())
        if total:
            scores.append(2 * int((a & b).sum()) / total)
    return sum(scores) / len(scores) if scores else 1.0
