"""Adapters: bottlenecks beside the frozen layers of a SAM.

Places as in paper A's code (after Medical SAM Adapter, Wu et al. 2023): in each encoder block after the attention,
with a skip, and parallel to the MLP, halved; in the decoder's transformer after token-to-image attention, parallel to
the MLP, and on the keys. The default model's encoder has convolutional blocks, where the place is this project's
choice: parallel to the block, halved.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.models.compact_blocks import GlobalAttentionBlock, ResidualBlock
from SAMFinetuneLogic.models.compact_encoder import CompactImageEncoder

_PARALLEL_SCALE = 0.5


class Bottleneck(nn.Module):
    """Down, GELU, up over the last dimension: (..., C) -> (..., C).

    Args:
        width: C.
        ratio: of the inner width to C.
        zero_init: the answer is zero before training.
    """

    def __init__(self, width: int, ratio: float, zero_init: bool) -> None:
        super().__init__()
        inner = max(1, int(width * ratio))
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        if zero_init:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(functional.gelu(self.down(x)))


class AdapterAfter(nn.Module):
    """A layer and, on its answer, an adapter with a skip."""

    def __init__(self, layer: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self.layer, self.adapter = layer, adapter

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        answer = self.layer(*args, **kwargs)
        return answer + self.adapter(answer)


class AdapterBeside(nn.Module):
    """A layer and, on its input, an adapter whose answer is halved and added.

    ``channels_first`` for layers that take (B, C, H, W).
    """

    def __init__(self, layer: nn.Module, adapter: Bottleneck, channels_first: bool = False) -> None:
        super().__init__()
        self.layer, self.adapter, self.channels_first = layer, adapter, channels_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x.permute(0, 2, 3, 1) if self.channels_first else x
        change = self.adapter(seen)
        return self.layer(x) + _PARALLEL_SCALE * (change.permute(0, 3, 1, 2) if self.channels_first else change)


def insert_adapters(network: Any, strategy: Strategy, kept: tuple[str, ...] = ()) -> None:
    """Put adapters into a ``Sam``, in place."""

    def bottleneck(width: int) -> Bottleneck:
        return Bottleneck(width, strategy.adapter_ratio, strategy.zero_init)

    if strategy.trains_encoder:
        for name, block in list(network.image_encoder.named_modules()):
            if not f"image_encoder.{name}.".startswith(kept):
                _into_encoder_block(block, bottleneck)
        if isinstance(network.image_encoder, CompactImageEncoder):
            _around_compact_blocks(network.image_encoder, bottleneck, kept)
    transformer: Any = network.mask_decoder.transformer
    for layer in transformer.layers:
        width = layer.norm1.normalized_shape[0]
        layer.cross_attn_token_to_image = AdapterAfter(layer.cross_attn_token_to_image, bottleneck(width))
        layer.mlp = AdapterBeside(layer.mlp, bottleneck(width))
        layer.norm4 = AdapterAfter(layer.norm4, bottleneck(width))


def _into_encoder_block(block: nn.Module, bottleneck: Any) -> None:
    """Blocks with ``attn`` and ``mlp``: SAM's ViT and TinyViT."""
    attention, mlp = getattr(block, "attn", None), getattr(block, "mlp", None)
    if attention is None or mlp is None:
        return
    width = attention.proj.out_features
    block.attn = AdapterAfter(attention, bottleneck(width))
    block.mlp = AdapterBeside(mlp, bottleneck(width))


def _around_compact_blocks(encoder: CompactImageEncoder, bottleneck: Any, kept: tuple[str, ...]) -> None:
    for name in ("blocks4", "blocks8", "blocks16"):
        if f"image_encoder.{name}.".startswith(kept):
            continue
        stage = getattr(encoder, name)
        for number, block in enumerate(stage):
            if isinstance(block, GlobalAttentionBlock):
                width = block.proj.out_features
                block.proj = AdapterAfter(block.proj, bottleneck(width))  # type: ignore[assignment]
            else:
                assert isinstance(block, ResidualBlock)
                width = block.conv2.out_channels
            stage[number] = AdapterBeside(block, bottleneck(width), channels_first=True)


def adapter_parameter_names(network: nn.Module) -> set[str]:
    """Names of the parameters that adapters have added."""
    return {
        f"{name}.{parameter}"
        for name, module in network.named_modules()
        if isinstance(module, Bottleneck)
        for parameter, _ in module.named_parameters()
    }
