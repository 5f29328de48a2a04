"""The simulated user of training: prompts for a batch of structures, and the network's answers to them.

All positions are on the grid of the decoder's answer until they are handed to the network. A batch mixes prompts of
different kinds. ``segment_anything``'s prompt encoder and decoder take one image at a time; the compact default model
takes the whole batch.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from SAMFinetuneLogic.models.compact_decoder import CompactMaskDecoder
from SAMFinetuneLogic.synthetic.prompt_simulation import (
    corrective_clicks,
    depth_inside,
    jitter_boxes,
    pick_pixels,
    random_pixels,
    tight_boxes,
)

KINDS = ("click", "clicks", "box", "box and click", "earlier mask")
CLICK, CLICKS, BOX, BOX_AND_CLICK, EARLIER_MASK = range(5)
KIND_WEIGHTS = (0.5, 0.1, 0.22, 0.06, 0.12)
"""Earlier mask: the structure as it might be on the slice before, as propagation prompts."""

_CLICK_SLOTS = 8
_CORRECTION_WEIGHTS = torch.tensor([0.65, 0.2, 0.1, 0.05])
"""Of no corrective click, one, two, three."""


@dataclass(frozen=True)
class Prompts:
    """The prompts of N structures at one moment.

    Attributes:
        coords: (N, 10, 2) as x, y on the grid; clicks in places 0 to 7, a box's corners in 8 and 9.
        labels: (N, 10): 1 inside, 0 outside, 2 and 3 a box's corners, -1 nothing.
        mask_logits: (N, 1, h, w) the earlier mask.
        has_mask: (N,) bool.
    """

    coords: torch.Tensor
    labels: torch.Tensor
    mask_logits: torch.Tensor
    has_mask: torch.Tensor

    def part(self, rows: torch.Tensor) -> "Prompts":
        """Of some of the structures only."""
        return Prompts(self.coords[rows], self.labels[rows], self.mask_logits[rows], self.has_mask[rows])


def first_prompts(
    targets: torch.Tensor, generator: torch.Generator, kinds: torch.Tensor | None = None
) -> tuple[Prompts, torch.Tensor]:
    """A first prompt for each target (N, h, w) bool, none of them empty; with the kinds (N,) that were drawn."""
    count, (height, width) = len(targets), targets.shape[-2:]
    if kinds is None:
        kinds = torch.multinomial(torch.tensor(KIND_WEIGHTS).expand(count, -1), 1, generator=generator).squeeze(1)
    slots = _CLICK_SLOTS + 2
    coords, labels = torch.zeros(count, slots, 2), torch.full((count, slots), -1.0)
    clicked = (kinds == CLICK) | (kinds == CLICKS) | (kinds == BOX_AND_CLICK)
    coords[:, 0] = pick_pixels(depth_inside(targets), 0.7, generator)
    labels[clicked, 0] = 1.0
    near = _neighbourhood(targets) & ~targets
    for place in (1, 2):
        inside = torch.rand(count, generator=generator) < 0.6
        region = torch.where(inside[:, None, None], targets, near)
        chosen = (kinds == CLICKS) & region.flatten(1).any(1)
        coords[:, place] = random_pixels(region, generator)
        labels[chosen, place] = inside[chosen].float()
    earlier = _moved(targets, generator)
    earlier = torch.where(earlier.flatten(1).any(1)[:, None, None], earlier, targets)
    hinted = torch.where((kinds == EARLIER_MASK)[:, None, None], earlier, targets)
    amount = 0.08 * torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < 0.7)
    boxed = (kinds == BOX) | (kinds == BOX_AND_CLICK) | (kinds == EARLIER_MASK)
    boxes = jitter_boxes(tight_boxes(hinted), amount, max(height, width), generator)
    coords[boxed, _CLICK_SLOTS:] = boxes[boxed]
    labels[boxed, _CLICK_SLOTS], labels[boxed, _CLICK_SLOTS + 1] = 2.0, 3.0
    logits = ((earlier.float() * 2 - 1) * 6).unsqueeze(1)
    return Prompts(coords, labels, logits, kinds == EARLIER_MASK), kinds


def corrected(prompts: Prompts, targets: torch.Tensor, logits: torch.Tensor, generator: torch.Generator) -> Prompts:
    """One corrective click more for each structure, and the answer (N, 1, h, w) fed back."""
    clicks, click_labels = corrective_clicks(targets, logits[:, 0] > 0, generator)
    used = (prompts.labels[:, :_CLICK_SLOTS] >= 0).sum(1).clamp(max=_CLICK_SLOTS - 1)
    coords, labels = prompts.coords.clone(), prompts.labels.clone()
    rows = torch.arange(len(used))
    coords[rows, used], labels[rows, used] = clicks, click_labels
    return replace(
        prompts, coords=coords, labels=labels, mask_logits=logits, has_mask=torch.ones_like(prompts.has_mask)
    )


def corrections(generator: torch.Generator) -> int:
    """After how many corrective clicks a step learns."""
    return int(torch.multinomial(_CORRECTION_WEIGHTS, 1, generator=generator))


def answer(
    network: Any, embeddings: torch.Tensor, prompts: Prompts, half_pixels: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """All four candidates of each structure: logits (N, 4, h, w) and predicted IoU (N, 4), float32.

    Args:
        network: a ``Sam``.
        embeddings: (N, C, h', w'), one for each structure.
        half_pixels: whether input pixels are counted at their centres when a position is scaled
            (``Preprocessing.coordinates``).
    """
    device = embeddings.device
    grid = torch.tensor(network.prompt_encoder.mask_input_size)
    scale = torch.tensor([network.image_encoder.img_size]) / grid.flip(0)
    half = 0.5 if half_pixels else 0.0
    coords = ((prompts.coords + half) * scale - half).to(device)
    labels, masks = prompts.labels.to(device), prompts.mask_logits.to(device)
    if isinstance(network.mask_decoder, CompactMaskDecoder):
        sparse, dense = _embedded_together(network.prompt_encoder, coords, labels, masks, prompts.has_mask)
        logits, iou = _decoded(network, embeddings, sparse, dense)
        return logits.float(), iou.float()
    parts = []
    for row in range(len(coords)):
        mask = masks[row : row + 1] if bool(prompts.has_mask[row]) else None
        sparse, dense = _embedded_alone(network.prompt_encoder, coords[row : row + 1], labels[row : row + 1], mask)
        parts.append(_decoded(network, embeddings[row : row + 1], sparse, dense))
    return torch.cat([logits.float() for logits, _ in parts]), torch.cat([iou.float() for _, iou in parts])


def _decoded(
    network: Any, embeddings: torch.Tensor, sparse: torch.Tensor, dense: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    logits, iou = network.mask_decoder.predict_masks(
        image_embeddings=embeddings,
        image_pe=network.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    return logits, iou


def _embedded_together(
    encoder: Any, coords: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor, has_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the compact model: prompts with an earlier mask and prompts without one for a single pass of the decoder."""
    used = (labels >= 0).any(0)
    points = (coords[:, used], labels[:, used])
    groups = [rows for flag in (False, True) if len(rows := torch.nonzero(has_mask == flag).flatten())]
    parts = []
    for rows in groups:
        given = masks[rows] if bool(has_mask[rows[0]]) else None
        parts.append(encoder(points=(points[0][rows], points[1][rows]), boxes=None, masks=given))
    order = torch.argsort(torch.cat(groups)).to(coords.device)
    return torch.cat([sparse for sparse, _ in parts])[order], torch.cat([dense for _, dense in parts])[order]


def _embedded_alone(
    encoder: Any, coords: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of SAM's prompt encoder: (1, 10, 2) and (1, 10), the places that are not used left out."""
    clicks = (labels[0] == 0) | (labels[0] == 1)
    boxes = coords[:, labels[0] >= 2].reshape(-1, 4) if bool((labels[0] == 2).any()) else None
    points = (coords[:, clicks], labels[:, clicks]) if bool(clicks.any()) else None
    return encoder(points=points, boxes=boxes, masks=mask)


def _neighbourhood(targets: torch.Tensor) -> torch.Tensor:
    """Targets (N, h, w) grown by about an eighth of the image, coarsely."""
    coarse = F.max_pool2d(targets.float().unsqueeze(1), 8, ceil_mode=True)
    grown = F.max_pool2d(coarse, 5, stride=1, padding=2)
    return F.interpolate(grown, targets.shape[-2:], mode="nearest").squeeze(1).bool()


def _moved(targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Targets (N, h, w) shifted and scaled a little about their centre, as on a neighbouring slice."""
    count, (height, width) = len(targets), targets.shape[-2:]
    boxes = tight_boxes(targets)
    centre = boxes.mean(1)
    sides = boxes[:, 1] - boxes[:, 0] + 1
    zoom = 1.25 ** (2 * torch.rand(count, 1, generator=generator) - 1)
    shift = 0.12 * sides * torch.randn(count, 2, generator=generator).clamp(-2, 2)
    size = torch.tensor([width, height])
    # From a place of the result to one of the source, in grid_sample's coordinates of -1 to 1.
    middle = (2 * centre + 1) / size - 1
    offset = middle * (1 - 1 / zoom) - 2 * shift / size / zoom
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom[:, 0]
    theta[:, :, 2] = offset
    places = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    return F.grid_sample(targets.float().unsqueeze(1), places, mode="nearest", align_corners=False).squeeze(1) > 0.5
