"""Image encoders as a row of stages, so that the frozen ones at the front can be run once and their answers kept.

What lies between two stages is one tensor, (B, ...). All stages in a row compute exactly the encoder's own forward.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.compact_blocks import upsample_to
from SAMFinetuneLogic.models.compact_encoder import PIXEL_CHANNELS, STRIDE, CompactImageEncoder
from SAMFinetuneLogic.models.tiny_vit import TinyViT

Step = Callable[[torch.Tensor], torch.Tensor]


class EncoderStages:
    """The stages of an encoder.

    Args:
        encoder: SAM's ViT, TinyViT, or the compact default model's; possibly with adapters in it.

    Attributes:
        names: for each stage, the names of the encoder's children (modules or parameters) that it uses.
    """

    def __init__(self, encoder: nn.Module) -> None:
        if isinstance(encoder, CompactImageEncoder):
            rows = _compact_rows(encoder)
        elif isinstance(encoder, TinyViT):
            rows = _tiny_rows(encoder)
        else:
            rows = _vit_rows(encoder)
        self.names: tuple[tuple[str, ...], ...] = tuple(names for names, _ in rows)
        self._steps: tuple[Step, ...] = tuple(step for _, step in rows)

    def __len__(self) -> int:
        return len(self.names)

    def run(self, state: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Stages ``start`` up to but without ``stop``; stage 0 takes the images (B, 3, S, S)."""
        for step in self._steps[start:stop]:
            state = step(state)
        return state

    def stage_of(self, name: str) -> int:
        """The stage that a parameter or module of the encoder belongs to, by its name in the encoder."""
        for stage, names in enumerate(self.names):
            if any(name == own or name.startswith(own + ".") for own in names):
                return stage
        raise KeyError(name)


def _vit_rows(encoder: Any) -> list[tuple[tuple[str, ...], Step]]:
    """Patch embedding, each block, neck. Between them (B, h, w, C)."""

    def embed(images: torch.Tensor) -> torch.Tensor:
        patches = encoder.patch_embed(images)
        return patches if encoder.pos_embed is None else patches + encoder.pos_embed

    rows: list[tuple[tuple[str, ...], Step]] = [(("patch_embed", "pos_embed"), embed)]
    rows += [((f"blocks.{number}",), block) for number, block in enumerate(encoder.blocks)]
    rows.append((("neck",), lambda tokens: encoder.neck(tokens.permute(0, 3, 1, 2))))
    return rows


def _tiny_rows(encoder: Any) -> list[tuple[tuple[str, ...], Step]]:
    """Stem, each block, each merging, neck. Between them (B, C, h, w)."""
    rows: list[tuple[tuple[str, ...], Step]] = [(("patch_embed",), encoder.patch_embed)]
    for number, stage in enumerate(encoder.layers):
        rows += [((f"layers.{number}.blocks.{n}",), block) for n, block in enumerate(stage.blocks)]
        if hasattr(stage, "downsample"):
            rows.append(((f"layers.{number}.downsample",), stage.downsample))
    rows.append((("neck",), encoder.neck))
    return rows


def _compact_rows(encoder: Any) -> list[tuple[tuple[str, ...], Step]]:
    """Stride 4, stride 8, stride 16, and the way back up, which needs what all of them gave, and the pixels.

    These are kept side by side as channels of the coarsest grid: pixels of finer grids become channels.
    """

    def enter(images: torch.Tensor) -> torch.Tensor:
        fine = encoder.blocks4(encoder.down4(functional.silu(encoder.stem(images))))
        pixels = functional.pixel_unshuffle(images.mean(1, keepdim=True), STRIDE)
        return _packed(fine, pixels.to(fine.dtype))

    def to_stride8(state: torch.Tensor) -> torch.Tensor:
        fine, pixels = _unpacked(state, widths[:1])
        middle = encoder.blocks8(encoder.down8(fine))
        return _packed(fine, middle, pixels)

    def to_stride16(state: torch.Tensor) -> torch.Tensor:
        fine, middle, pixels = _unpacked(state, widths[:2])
        coarse = encoder.blocks16(encoder.down16(middle))
        return _packed(fine, middle, coarse, pixels)

    def back_up(state: torch.Tensor) -> torch.Tensor:
        fine, middle, coarse, pixels = _unpacked(state, widths)
        merged = encoder.lateral8(middle) + upsample_to(encoder.lateral16(coarse), middle)
        merged = encoder.lateral4(fine) + upsample_to(encoder.merge8(merged), fine)
        features = encoder.neck(functional.silu(encoder.neck_norm(encoder.merge4(merged))))
        return torch.cat([features, pixels], dim=1)

    laterals = (encoder.lateral4, encoder.lateral8, encoder.lateral16)
    # A layer with LoRA holds its original as ``base_layer``.
    widths = tuple(int(getattr(layer, "base_layer", layer).in_channels) for layer in laterals)
    return [
        (("stem", "down4", "blocks4"), enter),
        (("down8", "blocks8"), to_stride8),
        (("down16", "blocks16"), to_stride16),
        (("lateral16", "lateral8", "lateral4", "merge8", "merge4", "neck_norm", "neck"), back_up),
    ]


def _packed(*maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, C, H, W) of several resolutions as channels of the coarsest grid."""
    height = min(each.shape[-2] for each in maps)
    return torch.cat([functional.pixel_unshuffle(each, each.shape[-2] // height) for each in maps], dim=1)


def _unpacked(state: torch.Tensor, widths: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """What :func:`_packed` was given: maps of ``widths`` channels, each half as fine as the one before, and pixels."""
    factors = [2 ** (len(widths) - 1 - number) for number in range(len(widths))]
    factors.append(factors[0])
    channels = [width * factor**2 for width, factor in zip((*widths, PIXEL_CHANNELS), factors, strict=True)]
    parts = state.split(channels, dim=1)
    return tuple(functional.pixel_shuffle(part, factor) for part, factor in zip(parts, factors, strict=True))
