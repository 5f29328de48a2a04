"""What a training step in half precision need not do again: frozen weights are converted once.

``torch.autocast`` converts the weights that are not trained at each use. Here each is converted when it is first
used and then kept, with the same answers. LoRA layers go through :mod:`SAMFinetuneLogic.finetuning.lora_product`, and
the sums of their weights are made once a step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.finetuning.checkpointing import replaced_forwards
from SAMFinetuneLogic.finetuning.lora_product import is_plain_lora, lora_product, summed_weight

Forward = Callable[..., torch.Tensor]
Halves = tuple[torch.Tensor, torch.Tensor | None]


class HalfLayers:
    """Weights of a network in half precision, beside the network, whose own stay as they are.

    Args:
        network: in training; which of its parameters are trained must not change afterwards.
        device_type: whose autocast counts.
        dtype: of the halves; with float32 nothing is changed.

    Attributes:
        kept: what has been converted so far, by layer.
    """

    def __init__(self, network: nn.Module, device_type: str, dtype: torch.dtype) -> None:
        self._device_type, self._dtype = device_type, dtype
        self.kept: dict[nn.Module, Halves] = {}
        self._sums: dict[nn.Module, torch.Tensor] = {}
        modules = [] if dtype == torch.float32 else list(network.modules())
        self._lora = [module for module in modules if is_plain_lora(module)]
        self._frozen = [
            module
            for module in modules
            if isinstance(module, nn.Linear | nn.Conv2d) and not any(p.requires_grad for p in module.parameters())
        ]

    @contextmanager
    def used(self, keep: bool = True) -> Iterator[None]:
        """Within the block, in which no weights change, the network's layers compute with what is kept.

        Args:
            keep: False where memory is short: sums are made anew at each use, and frozen weights left to autocast.
        """
        if not keep:
            self.kept.clear()
        forwards = {layer: self._summed(layer, layer.forward, keep) for layer in self._lora}
        if keep:
            forwards.update({layer: self._converted(layer, layer.forward) for layer in self._frozen})
        try:
            with replaced_forwards(forwards):
                yield
        finally:
            self._sums.clear()

    def _in_half(self) -> bool:
        """Some layers ask for fp32."""
        return torch.is_autocast_enabled(self._device_type)

    def _converted(self, layer: Any, own: Forward) -> Forward:
        compute = functional.linear if isinstance(layer, nn.Linear) else layer._conv_forward

        def forward(x: torch.Tensor) -> torch.Tensor:
            # Frozen layers at the front run once for each view, without a way back: their halves would fill memory.
            if not self._in_half() or not (torch.is_grad_enabled() or layer in self.kept):
                return own(x)
            if layer not in self.kept:
                self.kept[layer] = self._in_dtype(layer.weight), self._in_dtype(layer.bias)
            return compute(x, *self.kept[layer])

        return forward

    def _summed(self, layer: Any, own: Forward, keep: bool) -> Forward:
        def forward(x: torch.Tensor) -> torch.Tensor:
            if not self._in_half():
                return own(x)
            summed = self._sums.get(layer)
            if summed is None:
                summed = summed_weight(layer, self._dtype)
                if keep:
                    self._sums[layer] = summed
            return lora_product(layer, x, summed, self._in_dtype(layer.get_base_layer().bias))

        return forward

    def _in_dtype(self, tensor: torch.Tensor | None) -> Any:
        return None if tensor is None else tensor.detach().to(self._dtype)
