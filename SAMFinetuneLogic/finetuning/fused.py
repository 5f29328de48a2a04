"""LoRA on some of queries, keys and values of attention layers that compute the three in one product."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.torch_compat import import_torchvision

import_torchvision()  # peft may ask for it
from peft import LoraConfig  # noqa: E402
from peft.tuners.lora import Linear as LoraLinear  # noqa: E402


class FusedProjection(nn.Linear):
    """A ``qkv`` layer that knows which of its outputs LoRA changes.

    Attributes:
        lora_rows: (P, C) indices of output features, one row for each of queries, keys or values that is changed.
    """

    lora_rows: torch.Tensor


def mark_fused(layer: nn.Linear, heads: int, interleaved: bool, parts: str) -> None:
    """Turn ``layer`` into a :class:`FusedProjection`, in place, with the same weights.

    Args:
        layer: with 3C outputs.
        heads: of the attention.
        interleaved: TinyViT's order, [q | k | v] for each head in turn; else SAM's, all q, then all k, then all v.
        parts: letters of "qkv": which LoRA changes.
    """
    width = layer.out_features // 3
    rows = torch.arange(3 * width)
    shape = (heads, 3, width // heads) if interleaved else (3, heads, width // heads)
    by_part = rows.reshape(shape).unbind(1 if interleaved else 0)
    layer.__class__ = FusedProjection
    # A plain attribute, not a buffer: the state dict stays that of the checkpoint.
    object.__setattr__(layer, "lora_rows", torch.stack([by_part["qkv".index(part)].flatten() for part in parts]))


class _Output(nn.Module):
    """B of P LoRA pairs: (..., P * r) -> (..., 3C), with zeros at the parts that are not changed."""

    def __init__(self, rank: int, layer: FusedProjection) -> None:
        super().__init__()
        parts, width = layer.lora_rows.shape
        self.pairs = nn.Parameter(torch.zeros(parts, width, rank, device=layer.weight.device))
        self.bias = None
        self._features, self._rows = layer.out_features, layer.lora_rows

    @property
    def weight(self) -> torch.Tensor:
        """(3C, P * r), with zeros where a pair does not belong."""
        blocks = torch.block_diag(*self.pairs)
        full = blocks.new_zeros(self._features, blocks.shape[1])
        return full.index_copy(0, self._rows.flatten().to(blocks.device), blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight.to(x.dtype))


class PartialLora(LoraLinear):
    """peft's LoRA layer with a pair of its own for each changed part, as in paper A's code for queries and values."""

    def update_layer(self, adapter_name: str, r: int, lora_alpha: int, config: LoraConfig, **kwargs: Any) -> None:
        layer: Any = self.get_base_layer()
        super().update_layer(adapter_name, len(layer.lora_rows) * r, lora_alpha, config=config, **kwargs)
        self.lora_B[adapter_name] = _Output(r, layer)
        self.r[adapter_name] = r
        self.scaling[adapter_name] = lora_alpha / (r**0.5 if config.use_rslora else r)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)
