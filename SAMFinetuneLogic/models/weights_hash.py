"""What identifies the function that an encoder computes: a hash of its weights and of the adapters in use."""

import hashlib
from collections.abc import Hashable

import torch
from torch import nn


def hash_weights(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, with their names, and of the state of adapters.

    Adapters count as peft keeps them: which are active, whether they are switched off, and how they are scaled.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        data = tensor.detach().to("cpu").contiguous().flatten()
        if data.numel():
            digest.update(memoryview(data.view(torch.uint8).numpy()))
    digest.update(repr(_adapter_state(module)).encode())
    return digest.hexdigest()


def weights_fingerprint(module: nn.Module) -> Hashable:
    """Changes whenever :func:`hash_weights` may have changed, and is cheap: for deciding when to hash again.

    Built from each tensor's address and its count of in-place changes. Changes made through ``tensor.data``
    escape torch's count, and this.
    """
    tensors = tuple(
        (name, tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        for name, tensor in module.state_dict(keep_vars=True).items()
    )
    return tensors, repr(_adapter_state(module))


def _adapter_state(module: nn.Module) -> list[tuple[str, str]]:
    return [
        (name, f"{part.active_adapters} {part.disable_adapters} {getattr(part, 'scaling', None)}")
        for name, part in module.named_modules()
        if hasattr(part, "active_adapters") and hasattr(part, "disable_adapters")
    ]
