"""Image encoder of the compact default model: image in, embedding out, no prompt; SAM's interface."""

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.compact_blocks import (
    Downsample,
    GlobalAttentionBlock,
    ResidualBlock,
    group_norm,
    upsample_to,
)

STRIDE = 4
"""Input pixels between two positions of the embedding."""
PIXEL_CHANNELS = STRIDE * STRIDE
"""The last channels of an embedding: the gray input itself, the pixels of each position."""


def gray_pixels(embedding: torch.Tensor) -> torch.Tensor:
    """The normalised gray input (B, 1, S, S) that an embedding (B, C, S/4, S/4) carries."""
    return functional.pixel_shuffle(embedding[:, -PIXEL_CHANNELS:], STRIDE)


class CompactImageEncoder(nn.Module):
    """Convolutions at strides 2, 4 and 8, global attention at stride 16, merged top-down to stride 4.

    The embedding also carries the pixels, so that the decoder can draw outlines finer than its positions.

    Args:
        img_size: side of the square input in pixels, a multiple of 16. The weights do not depend on it.
        widths: channels at strides 2, 4, 8 and 16.
        depths: blocks at strides 4, 8 and 16.
        neck_width: channels of the top-down path.
        out_chans: channels of the embedding.
    """

    def __init__(
        self,
        img_size: int,
        widths: tuple[int, int, int, int],
        depths: tuple[int, int, int],
        neck_width: int,
        out_chans: int,
    ) -> None:
        super().__init__()
        self.img_size = img_size
        stem, fine, middle, coarse = widths
        self.stem = nn.Conv2d(3, stem, 3, stride=2, padding=1)
        self.down4 = Downsample(stem, fine)
        self.blocks4 = nn.Sequential(*(ResidualBlock(fine) for _ in range(depths[0])))
        self.down8 = Downsample(fine, middle)
        self.blocks8 = nn.Sequential(*(ResidualBlock(middle) for _ in range(depths[1])))
        self.down16 = Downsample(middle, coarse)
        self.blocks16 = nn.Sequential(*(GlobalAttentionBlock(coarse, coarse // 32) for _ in range(depths[2])))
        self.lateral16 = nn.Conv2d(coarse, neck_width, 1)
        self.lateral8 = nn.Conv2d(middle, neck_width, 1)
        self.lateral4 = nn.Conv2d(fine, neck_width, 1)
        self.merge8 = ResidualBlock(neck_width)
        self.merge4 = ResidualBlock(neck_width)
        self.neck_norm = group_norm(neck_width)
        self.neck = nn.Conv2d(neck_width, out_chans - PIXEL_CHANNELS, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalised images -> (B, out_chans, S/4, S/4) embeddings."""
        fine = self.blocks4(self.down4(functional.silu(self.stem(x))))
        middle = self.blocks8(self.down8(fine))
        coarse = self.blocks16(self.down16(middle))
        merged = self.lateral8(middle) + upsample_to(self.lateral16(coarse), middle)
        merged = self.lateral4(fine) + upsample_to(self.merge8(merged), fine)
        features = self.neck(functional.silu(self.neck_norm(self.merge4(merged))))
        pixels = functional.pixel_unshuffle(x.mean(1, keepdim=True), STRIDE)
        return torch.cat([features, pixels], dim=1)
