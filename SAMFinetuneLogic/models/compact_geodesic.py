"""Geodesic distances from prompts: how far a position is from a click when crossing edges of the image is expensive.

Where training is short, a network that gets these maps has edges to go by from its first step on. The idea of giving
geodesic distances of clicks to a network is DeepIGeoS's (Wang et al. 2018); the sweeps and the learned costs are ours.
"""

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.compact_prompt import DRAWN_MAPS
from SAMFinetuneLogic.models.uncompiled import uncompiled

_STEP_COST = 0.05
"""Of a step between two pixels without any edge,"""
_EDGE_COST = 0.3
"""and of an edge as strong as the image's mean gradient."""
_STRONGEST_EDGE = 8.0
_SWEEPS = 4
_FAR = 1e3
_DECAY = 3.0
_SEED = 0.5


def geodesic_distance(
    right: torch.Tensor, down: torch.Tensor, seeds: torch.Tensor, sweeps: int = _SWEEPS
) -> torch.Tensor:
    """Cost of the cheapest path from each pixel to the nearest seed, over horizontal and vertical steps.

    A sweep finds the cheapest straight runs along all rows, then along all columns, with a cumulative minimum: a
    path that turns 2n times is found by n sweeps. Without seeds the distance is 1000.

    Args:
        right: (B, 1, H, W - 1) cost of the steps between columns.
        down: (B, 1, H - 1, W) cost of the steps between rows.
        seeds: (B, M, H, W) bool, M sets of seeds.
        sweeps: rounds.

    Returns:
        (B, M, H, W), differentiable in the costs.
    """
    along_rows = functional.pad(right.cumsum(3), (1, 0))
    along_cols = functional.pad(down.cumsum(2), (0, 0, 1, 0))
    distance = torch.where(seeds, 0.0, _FAR).to(right.dtype)
    for _ in range(sweeps):
        distance = _straight_runs(distance, along_rows, 3)
        distance = _straight_runs(distance, along_cols, 2)
    return distance


def _straight_runs(distance: torch.Tensor, cumulative: torch.Tensor, dim: int) -> torch.Tensor:
    forward = cumulative + torch.cummin(distance - cumulative, dim).values
    backward = torch.cummin((distance + cumulative).flip(dim), dim).values.flip(dim) - cumulative
    return torch.minimum(distance, torch.minimum(forward, backward))


class GeodesicMaps(nn.Module):
    """Geodesic distances, at half of the input's resolution, from what the prompts mark.

    Steps cost what the image's gradient says, times a factor that is learned from the embedding.

    Args:
        channels: of the embedding.
    """

    MAPS = 5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.barrier = nn.Conv2d(channels, 4, 1)
        nn.init.zeros_(self.barrier.weight)
        nn.init.zeros_(self.barrier.bias)  # type: ignore[arg-type]

    @uncompiled
    def forward(self, embedding: torch.Tensor, gray: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Distances from positive clicks or the core of the box, from negative clicks, and from all that is outside.

        Args:
            embedding: (1 or B, C, S/4, S/4).
            gray: (1 or B, 1, S, S).
            drawn: (B, DRAWN_MAPS, S/2, S/2) the prompts as maps.

        Returns:
            (B, 5, S/2, S/2): each distance d as exp(-d / 3), and whether outside and negative clicks are farther than
            the inside is, as tanh of half and of an eighth of the difference.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            learned = functional.pixel_shuffle(self.barrier(embedding).float(), 2).clamp(-3, 3)
            right, down = self._costs(gray.float(), learned)
            batch = len(drawn)
            right, down = right.expand(batch, -1, -1, -1), down.expand(batch, -1, -1, -1)
            distance = geodesic_distance(right, down, prompt_seeds(drawn.float()))
            inside, negative, outside = distance.unbind(1)
            lead = torch.minimum(negative, outside) - inside
            # Nothing can be said where no prompt says what is inside.
            lead = lead * (inside.flatten(1).amin(1) < _FAR)[:, None, None]
            maps = [torch.exp(-distance / _DECAY), torch.tanh(lead / 2).unsqueeze(1), torch.tanh(lead / 8).unsqueeze(1)]
            return torch.cat(maps, 1).to(embedding.dtype)

    @staticmethod
    def _costs(gray: torch.Tensor, learned: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        smooth = functional.avg_pool2d(functional.pad(gray, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        smooth = functional.avg_pool2d(smooth, 2)
        across = (smooth[..., 1:] - smooth[..., :-1]).abs()
        along = (smooth[..., 1:, :] - smooth[..., :-1, :]).abs()
        mean = (across.mean((1, 2, 3), keepdim=True) + along.mean((1, 2, 3), keepdim=True)) / 2 + 1e-4
        factor_across = torch.exp((learned[..., 1:] + learned[..., :-1]) / 2)
        factor_along = torch.exp((learned[..., 1:, :] + learned[..., :-1, :]) / 2)
        right = factor_across * (_STEP_COST + _EDGE_COST * (across / mean).clamp(max=_STRONGEST_EDGE))
        down = factor_along * (_STEP_COST + _EDGE_COST * (along / mean).clamp(max=_STRONGEST_EDGE))
        return right, down


def prompt_seeds(drawn: torch.Tensor) -> torch.Tensor:
    """Seeds (B, 3, H, W): inside, negative, outside; from maps (B, DRAWN_MAPS, H, W) of the prompts.

    Inside are the positive clicks, or without any the middle of the box, half as high and wide; outside is what lies
    out of the box, or without a box the image's edge.
    """
    assert drawn.shape[1] == DRAWN_MAPS
    positive, negative, box = drawn[:, 0] > _SEED, drawn[:, 1] > _SEED, drawn[:, 2] > _SEED
    clicked = positive.flatten(1).any(1)[:, None, None]
    boxed = box.flatten(1).any(1)[:, None, None]
    edge = torch.zeros_like(positive)
    edge[:, 0], edge[:, -1], edge[:, :, 0], edge[:, :, -1] = True, True, True, True
    outside = torch.where(boxed, ~box, edge) & ~positive
    inside = torch.where(clicked, positive, _middle(box))
    return torch.stack([inside, negative & ~positive, outside & ~inside], 1)


def _middle(box: torch.Tensor) -> torch.Tensor:
    """The middle of filled boxes (B, H, W), half as high and wide."""
    rows, cols = box.any(2).float(), box.any(1).float()

    def middle(profile: torch.Tensor) -> torch.Tensor:
        place = (profile.cumsum(1) - 0.5) / profile.sum(1, keepdim=True).clamp(min=1)
        return (profile > 0) & ((place - 0.5).abs() <= 0.25)

    return middle(rows).unsqueeze(2) & middle(cols).unsqueeze(1)
