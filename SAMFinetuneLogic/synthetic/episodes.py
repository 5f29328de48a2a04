"""What the simulated user does in one training step: a first prompt, then corrective clicks."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from SAMFinetuneLogic.synthetic.batches import Batch
from SAMFinetuneLogic.synthetic.prompt_simulation import (
    corrective_clicks,
    depth_inside,
    jitter_boxes,
    pick_pixels,
    random_pixels,
    tight_boxes,
)

CLICK, CLICKS, BOX, BOX_AND_CLICK, EARLIER_MASK, OTHER_SLICE, NOTHING = range(7)
_KIND_WEIGHTS = torch.tensor([0.34, 0.11, 0.40, 0.05, 0.05, 0.04, 0.01])
_CLICK_SLOTS = 6
_TOKENS_ONLY = 0.06


@dataclass
class Prompts:
    """The prompts of N targets at one moment.

    Attributes:
        coords: (N, 8, 2) as x, y in input pixels; clicks in places 0 to 5, a box's corners in 6 and 7.
        labels: (N, 8), see :class:`DrawnPromptEncoder`.
        mask_logits: (N, 1, S, S) the earlier mask.
        has_mask: (N,) bool.
        from_other_slice: (N,) bool: pooled embeddings of the partner slice take places 6 and 7.
        drawn: (N,) bool: the prompts are also drawn, not given by tokens alone.
        ambiguous: (N,) bool: several answers are possible, the model may give three.
    """

    coords: torch.Tensor
    labels: torch.Tensor
    mask_logits: torch.Tensor
    has_mask: torch.Tensor
    from_other_slice: torch.Tensor
    drawn: torch.Tensor
    ambiguous: torch.Tensor


def first_prompts(batch: Batch, generator: torch.Generator) -> tuple[Prompts, torch.Tensor]:
    """Draw the first prompt of every target; returns the prompts and their kinds (N,)."""
    targets = batch.targets
    count, size = len(targets), targets.shape[-1]
    kinds = torch.multinomial(_KIND_WEIGHTS.expand(count, -1), 1, generator=generator).squeeze(1)
    partner = batch.of_partner(targets)
    usable = batch.whole & partner.flatten(1).any(1)
    kinds[((kinds == OTHER_SLICE) | (kinds == EARLIER_MASK)) & ~usable] = CLICK
    coords, labels = torch.zeros(count, 8, 2), torch.full((count, 8), -1.0)

    clicked = (kinds == CLICK) | (kinds == CLICKS) | (kinds == BOX_AND_CLICK)
    coords[:, 0] = pick_pixels(depth_inside(targets), 0.5, generator)
    labels[clicked, 0] = 1.0
    nearby = _neighbourhood(targets)
    for place in (1, 2):
        inside = torch.rand(count, generator=generator) < 0.6
        region = torch.where(inside[:, None, None], targets, nearby & ~targets)
        chosen = (kinds == CLICKS) & region.flatten(1).any(1)
        coords[:, place] = random_pixels(region, generator)
        labels[chosen, place] = inside[chosen].float()

    hinted = torch.where((kinds == EARLIER_MASK)[:, None, None], partner, targets)
    amount = 0.08 * torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < 0.5)
    boxed = (kinds == BOX) | (kinds == BOX_AND_CLICK)
    boxed |= (kinds == EARLIER_MASK) & (torch.rand(count, generator=generator) < 0.6)
    boxed &= hinted.flatten(1).any(1)
    coords[boxed, 6:8] = jitter_boxes(tight_boxes(hinted), amount, size, generator)[boxed]
    labels[boxed, 6], labels[boxed, 7] = 2.0, 3.0

    sharpness = 2 + 6 * torch.rand(count, 1, 1, generator=generator)
    prompts = Prompts(
        coords=coords,
        labels=labels,
        mask_logits=((partner.float() * 2 - 1) * sharpness).unsqueeze(1),
        has_mask=kinds == EARLIER_MASK,
        from_other_slice=kinds == OTHER_SLICE,
        drawn=torch.rand(count, generator=generator) >= _TOKENS_ONLY,
        ambiguous=(kinds == CLICK) | (kinds == NOTHING),
    )
    return prompts, kinds


def _neighbourhood(targets: torch.Tensor) -> torch.Tensor:
    """Targets (N, H, W) grown by an eighth of the image, coarsely."""
    coarse = functional.max_pool2d(targets.float().unsqueeze(1), 8)
    grown = functional.max_pool2d(coarse, 5, stride=1, padding=2)
    return functional.interpolate(grown, scale_factor=8, mode="nearest").squeeze(1).bool()


def add_correction(prompts: Prompts, batch: Batch, logits: torch.Tensor, generator: torch.Generator) -> Prompts:
    """Add one corrective click to every target and feed the mask back, seldom without it."""
    clicks, click_labels = corrective_clicks(batch.targets, logits[:, 0] > 0, generator)
    used = (prompts.labels[:, :_CLICK_SLOTS] >= 0).sum(1).clamp(max=_CLICK_SLOTS - 1)
    coords, labels = prompts.coords.clone(), prompts.labels.clone()
    rows = torch.arange(len(used))
    coords[rows, used], labels[rows, used] = clicks, click_labels
    return Prompts(
        coords=coords,
        labels=labels,
        mask_logits=logits,
        has_mask=torch.rand(len(used), generator=generator) < 0.92,
        from_other_slice=prompts.from_other_slice,
        drawn=prompts.drawn,
        ambiguous=torch.zeros_like(prompts.ambiguous),
    )
