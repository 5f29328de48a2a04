"""A small network that learns, on a handful of slices, how the outline that is expected there must be corrected.

It sees a slice with its two neighbours, the expected levels, and where it is, and adds its correction to the expected
levels; at first it adds nothing. A U-Net (Ronneberger et al. 2015) of some hundred thousand weights: on five slices,
larger ones learn no more, and this one learns in seconds on a laptop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.propagation.levels import LIMIT

IMAGES = 3
"""Channels of the image: the slice before, the slice itself, the slice after."""
CHANNELS = IMAGES + 3
"""And the expected levels, and the row and the column, from -1 to 1."""
MULTIPLE = 8
"""Both sides of the input are multiples of this."""
_WIDTHS = (16, 32, 48)
_FOLD = 2
"""Squares of so many cells a side are taken as channels, which costs a third of the time and next to no detail."""
_GROUPS = 4
_BATCH = 8
_RATE = 6e-3
_WARM_UP = 0.2
_DECAY = 0.02
_SIZES = 0.1
_INVENTED_SIZES = 0.3
"""Spread of the logarithm of the size of what is shown: towards its ends a structure's sections are much smaller."""


@dataclass(frozen=True, eq=False)
class Example:
    """A slice to learn from.

    Attributes:
        seen: float32 (CHANNELS, h, w): images from -1 to 1, expected levels over LIMIT, row and column.
        truth: float32 (h, w): the part of each cell that is inside.
    """

    seen: torch.Tensor
    truth: torch.Tensor


class ContextNetwork(nn.Module):
    """Input (B, CHANNELS, h, w) -> what is to be added to the expected levels (B, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (CHANNELS * _FOLD**2, *_WIDTHS[:-1])
        self.down = nn.ModuleList(_Block(*pair) for pair in zip(inputs, _WIDTHS, strict=True))
        fine, coarse = _WIDTHS[-2::-1], _WIDTHS[:0:-1]
        self.up = nn.ModuleList(_Block(a + b, b) for a, b in zip(coarse, fine, strict=True))
        self.correction = nn.Conv2d(_WIDTHS[0], _FOLD**2, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)  # type: ignore[arg-type]

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        x, kept = functional.pixel_unshuffle(seen, _FOLD), []
        for depth, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if depth else x)
            kept.append(x)
        kept.pop()
        for block in self.up:
            skipped = kept.pop()
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), skipped], dim=1))
        return functional.pixel_shuffle(self.correction(x), _FOLD)[:, 0]


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.first_norm = nn.GroupNorm(_GROUPS, channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.second_norm = nn.GroupNorm(_GROUPS, channels_out)
        self.past = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = functional.silu(self.first_norm(self.first(x)))
        found = functional.silu(self.second_norm(self.second(found)))
        return found + self.past(x)


def learn(
    examples: Sequence[Example],
    steps: int,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
    invent_errors: bool = False,
) -> ContextNetwork:
    """Train a network on slices of one size, each moved, bent and brightened anew in every step.

    Args:
        examples: at least one.
        steps: of ``_BATCH`` slices.
        seed: the same one gives the same network.
        on_step: called before each step; it may raise to stop.
        invent_errors: what the examples expect is right; in training it is moved, scaled and bent against the image.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ContextNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps, pct_start=_WARM_UP)
        seen = torch.stack([example.seen for example in examples])
        truth = torch.stack([example.truth for example in examples])
        for _ in range(steps):
            on_step()
            chosen = torch.randint(len(examples), (_BATCH,))
            inputs, targets = _varied(seen[chosen], truth[chosen], invent_errors)
            added = network(inputs.contiguous(memory_format=torch.channels_last))
            loss = _loss(LIMIT * inputs[:, IMAGES] + added, targets)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def corrected(networks: Sequence[ContextNetwork], seen: torch.Tensor) -> np.ndarray:
    """The mean of what networks add to the expected levels of a slice: (CHANNELS, h, w) -> float32 (h, w)."""
    inputs = seen.unsqueeze(0).contiguous(memory_format=torch.channels_last)
    return torch.stack([network(inputs)[0] for network in networks]).mean(dim=0).numpy()


def _loss(levels: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy, and Dice loss of each slice."""
    inside = torch.sigmoid(levels)
    shared, total = (inside * truth).sum((1, 2)), inside.sum((1, 2)) + truth.sum((1, 2))
    dice = (2 * shared + 1) / (total + 1)
    return functional.binary_cross_entropy_with_logits(levels, truth) + 1 - dice.mean()


def _varied(seen: torch.Tensor, truth: torch.Tensor, invent_errors: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (B, CHANNELS, h, w) and truth (B, h, w), turned, scaled, shifted and bent; gray values and levels changed.

    The expected levels are made a little wrong, so that the image is looked at too; or as wrong as outlines that come
    from some slices away, of sections of any size.
    """
    count, _, height, width = seen.shape
    spread = _INVENTED_SIZES if invent_errors else _SIZES
    affine = _random_affine(count, height / width, spread)
    grid = functional.affine_grid(affine, [count, 1, height, width], align_corners=False)
    bend = 0.05 * torch.rand(count, 1, 1, 1) * torch.randn(count, 2, 5, 5)
    grid = grid + _smoothly(bend, height, width).permute(0, 2, 3, 1)
    moved = functional.grid_sample(seen, grid, padding_mode="border", align_corners=False)
    target = functional.grid_sample(truth.unsqueeze(1), grid, padding_mode="border", align_corners=False)[:, 0]
    images = moved[:, :IMAGES] * torch.exp(0.15 * torch.randn(count, 1, 1, 1)) + 0.15 * torch.randn(count, 1, 1, 1)
    images = images + 0.08 * torch.rand(count, 1, 1, 1) * torch.randn_like(images)
    wrong = 0.1 * torch.randn(count, 1, 1, 1) + _smoothly(0.1 * torch.randn(count, 1, 6, 6), height, width)
    expected = moved[:, IMAGES : IMAGES + 1]
    if invent_errors:
        expected = _misplaced(expected)
        wrong = wrong + 0.05 * torch.randn(count, 1, 1, 1)
    expected = (expected + wrong).clamp(-1, 1)
    return torch.cat([images, expected, moved[:, IMAGES + 1 :]], dim=1), target


def _misplaced(levels: torch.Tensor) -> torch.Tensor:
    """Levels (B, 1, h, w) shifted, stretched and bent, each in its own way."""
    count, _, height, width = levels.shape
    matrix = torch.zeros(count, 2, 3)
    scale = torch.exp(0.12 * torch.randn(count))
    matrix[:, 0, 0] = scale * torch.exp(0.06 * torch.randn(count))
    matrix[:, 1, 1] = scale * torch.exp(0.06 * torch.randn(count))
    matrix[:, :, 2] = 0.08 * torch.randn(count, 2)
    grid = functional.affine_grid(matrix, [count, 1, height, width], align_corners=False)
    bend = _smoothly(0.06 * torch.randn(count, 2, 6, 6), height, width)
    return functional.grid_sample(levels, grid + bend.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def _random_affine(count: int, aspect: float, sizes: float) -> torch.Tensor:
    """(count, 2, 3) for ``affine_grid`` on a grid whose height is ``aspect`` times its width.

    Args:
        sizes: standard deviation of the logarithm of the scale.
    """
    angle, shear = 0.15 * torch.randn(count), torch.exp(0.06 * torch.randn(count))
    scale = torch.exp(sizes * torch.randn(count))
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = scale * shear * torch.cos(angle)
    matrix[:, 0, 1] = -scale * aspect * torch.sin(angle)
    matrix[:, 1, 0] = scale / aspect * torch.sin(angle)
    matrix[:, 1, 1] = scale / shear * torch.cos(angle)
    matrix[:, :, 2] = 0.06 * torch.randn(count, 2)
    return matrix


def _smoothly(coarse: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
