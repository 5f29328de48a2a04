"""LoRA layers as one product with the sum of their weights, for training in half precision.

With frozen weights W and their low-rank change B A, the answer is y = x W' + s (x A') B' = x (W + s B A)': one product
on the way there, and one on the way back for the gradient of x. Those of A and B only need products with the rank as
one side. Computed layer by layer, as ``peft`` does, several more maps of the full size come and go: x in fp32 and in
half precision again, the change, its multiple and the sum, and all of them once more on the way back. The sum of the
weights is rounded to half precision as W alone would be, so that the answer is about as near to the one in fp32.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.torch_compat import import_torchvision

import_torchvision()  # peft may ask for it
from peft.tuners.lora import Conv2d as LoraConv2d  # noqa: E402
from peft.tuners.lora import Linear as LoraLinear  # noqa: E402


def is_plain_lora(layer: nn.Module) -> bool:
    """Whether :func:`lora_product` computes what a layer does: not so for DoRA, whose change is no plain sum."""
    return isinstance(layer, LoraLinear | LoraConv2d) and not layer.lora_variant


def summed_weight(layer: Any, dtype: torch.dtype) -> torch.Tensor:
    """W + s B A of a LoRA layer in ``dtype``, without a way back."""
    down, up, scale = _factors(layer)
    weight = layer.get_base_layer().weight
    with torch.no_grad():
        if weight.ndim == 2:
            return torch.addmm(weight, up, down, alpha=scale).to(dtype)
        # Channels last, as the network's convolutions are kept: then nothing is copied here but the small A.
        rows = weight.movedim(1, -1)
        summed = torch.addmm(rows.flatten(1), up.flatten(1), down.movedim(1, -1).flatten(1), alpha=scale)
        return summed.to(dtype).view(rows.shape).movedim(-1, 1)


def lora_product(layer: Any, x: torch.Tensor, summed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The answer of a LoRA layer, in half precision; gradients go to ``x`` and to the layer's A and B.

    Args:
        x: the layer's input, of any precision.
        summed: from :func:`summed_weight`.
        bias: the frozen bias in the same precision.
    """
    down, up, scale = _factors(layer)
    base = layer.get_base_layer()
    window = _Window(base.stride, base.padding, base.dilation) if isinstance(base, nn.Conv2d) else None
    answer: torch.Tensor = _LoraProduct.apply(x, summed, bias, down, up, scale, window)
    return answer


@dataclass(frozen=True)
class _Window:
    """How a convolution moves over its input."""

    stride: Any
    padding: Any
    dilation: Any

    def answer(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)

    def way_back(
        self, gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool]
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Gradients of input and weight, None for those that are not wanted."""
        found = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, self.stride, self.padding, self.dilation, False, [0, 0], 1, [*wanted, False]
        )
        return found[0], found[1]


class _LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        summed: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
        window: _Window | None,
    ) -> torch.Tensor:
        x = x.to(summed.dtype)
        ctx.save_for_backward(x, summed, down, up)
        ctx.scale, ctx.window = scale, window
        return functional.linear(x, summed, bias) if window is None else window.answer(x, summed, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        x, summed, down, up = ctx.saved_tensors
        small, large = down.to(x.dtype), up.to(x.dtype)
        work = _back_linear if ctx.window is None else _back_convolution
        of_x, of_down, of_up = work(ctx, gradient.to(x.dtype), x, summed, small, large)
        scale = ctx.scale
        return of_x, None, None, of_down.to(down.dtype) * scale, of_up.to(up.dtype) * scale, None, None


_Gradients = tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]


def _back_linear(
    ctx: Any, gradient: torch.Tensor, x: torch.Tensor, summed: torch.Tensor, down: torch.Tensor, up: torch.Tensor
) -> _Gradients:
    of_x = gradient @ summed if ctx.needs_input_grad[0] else None
    rows, inputs = gradient.flatten(0, -2), x.flatten(0, -2)
    return of_x, (rows @ up).t() @ inputs, rows.t() @ (inputs @ down.t())


def _back_convolution(
    ctx: Any, gradient: torch.Tensor, x: torch.Tensor, summed: torch.Tensor, down: torch.Tensor, up: torch.Tensor
) -> _Gradients:
    window: _Window = ctx.window
    of_x, _ = window.way_back(gradient, x, summed, (True, False)) if ctx.needs_input_grad[0] else (None, None)
    inner = window.answer(x, down, None)
    rows, inner_rows = gradient.movedim(1, -1).flatten(0, -2), inner.movedim(1, -1).flatten(0, -2)
    batch, _, height, width = gradient.shape
    of_inner = (rows @ up.flatten(1)).view(batch, height, width, -1).movedim(-1, 1)
    _, of_down = window.way_back(of_inner, x, down, (False, True))
    assert of_down is not None
    return of_x, of_down, (rows.t() @ inner_rows).view(up.shape)


def _factors(layer: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A, B and the scale of a LoRA layer."""
    (name,) = layer.active_adapters
    return layer.lora_A[name].weight, layer.lora_B[name].weight, float(layer.scaling[name])
