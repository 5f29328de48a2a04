"""Building blocks of the compact default model.

Dense 3 x 3 convolutions carry the work: they are what CPUs with matrix units (AMX, AVX512-BF16) and GPUs do best.
Normalisation is by group, never by batch: batches that mix clicks, boxes and masks have no common statistics.
"""

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.uncompiled import uncompiled


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with groups of 16 channels (one group for fewer)."""
    return nn.GroupNorm(max(1, channels // 16), channels)


class ResidualBlock(nn.Module):
    """Pre-activation residual block, (B, C, H, W) -> (B, C, H, W); the identity at initialisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = group_norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.conv1(functional.silu(self.norm1(x)))
        return x + self.conv2(functional.silu(self.norm2(hidden)))


class Downsample(nn.Sequential):
    """Half the resolution and change the width: (B, C, H, W) -> (B, C', H/2, W/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            group_norm(channels_in),
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1),
        )


class GlobalAttentionBlock(nn.Module):
    """Transformer block over all positions of a coarse grid, (B, C, H, W) -> (B, C, H, W).

    Positions are known through a depth-wise convolution, so that the block works at every input size.
    ``qkv`` and ``proj`` are linear layers with SAM's names, which LoRA can target.
    """

    def __init__(self, channels: int, heads: int, mlp_ratio: float = 3.0) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        hidden = int(channels * mlp_ratio)
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        x = x + self.position(x)
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm1(tokens)).reshape(batch, height * width, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(attended.transpose(1, 2).reshape(batch, height * width, channels))
        tokens = tokens + self.lin2(functional.silu(self.lin1(self.norm2(tokens))))
        return tokens.transpose(1, 2).reshape(batch, channels, height, width)


@uncompiled
def upsample_to(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bilinear up-sampling of ``x`` to the height and width of ``like``.

    Kept out of ``torch.compile``: in half precision on a CPU, torch 2.13 compiles its gradient to zero within the
    decoder's graph. Testing/Unit/synthetic/test_trainer.py compares the gradients of both.
    """
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
