"""LoRA in a SAM, injected by ``peft``: which layers, and how the change goes into the weights."""

from typing import Any

from torch import nn

from SAMFinetuneLogic.finetuning.fused import FusedProjection, PartialLora, mark_fused
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.models.compact_encoder import CompactImageEncoder
from SAMFinetuneLogic.models.tiny_vit import TinyViT
from SAMFinetuneLogic.models.torch_compat import import_torchvision

import_torchvision()  # peft may ask for it
from peft import LoraConfig, inject_adapter_in_model  # noqa: E402
from peft.tuners.lora import LoraLayer  # noqa: E402

_NAME = "default"
_PART_OF_LAYER = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "out_proj": "out",
    "proj": "out",
    "lin1": "mlp",
    "lin2": "mlp",
    "fc1": "mlp",
    "fc2": "mlp",
}
_TRANSFORMER = "mask_decoder.transformer."


def target_names(network: nn.Module, strategy: Strategy, kept: tuple[str, ...], whole: tuple[str, ...]) -> list[str]:
    """Names of the layers that LoRA changes.

    Args:
        network: a ``Sam``.
        strategy: whose ``components``, ``projections`` and ``convolutions`` decide.
        kept: prefixes of the names of parts that stay as they are.
        whole: prefixes of the names of parts that are trained whole.
    """
    found = []
    for name, module in network.named_modules():
        in_encoder = name.startswith("image_encoder.") and strategy.trains_encoder
        in_decoder = name.startswith("mask_decoder.")
        if not (in_encoder or in_decoder) or f"{name}.".startswith((*kept, *whole)):
            continue
        if strategy.dora and _has_no_direction(module):
            continue
        if isinstance(module, nn.Linear):
            if _is_wanted(name, strategy) and (in_encoder or name.startswith(_TRANSFORMER)):
                found.append(name)
        elif isinstance(module, nn.Conv2d) and _takes_lora(network, module, strategy, in_encoder):
            found.append(name)
    return found


def _has_no_direction(module: nn.Module) -> bool:
    """Whether all weights of one of a layer's outputs are zero: DoRA divides by their norm."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.is_meta:
        return False
    return bool((weight.detach().flatten(1) == 0).all(1).any()) if weight.ndim > 1 else False


def _is_wanted(name: str, strategy: Strategy) -> bool:
    last = name.rpartition(".")[2]
    if last == "qkv":
        return bool({"q", "k", "v"} & set(strategy.projections))
    return _PART_OF_LAYER.get(last) in strategy.projections


def _takes_lora(network: nn.Module, layer: nn.Conv2d, strategy: Strategy, in_encoder: bool) -> bool:
    """Depth-wise kernels have no rank to lower, and kernels as large as their stride are patch embeddings."""
    if layer.groups > 1 or layer.kernel_size[0] > 3:
        return False
    always = in_encoder and isinstance(network.image_encoder, CompactImageEncoder)
    return always or strategy.convolutions


def inject_lora(
    network: nn.Module, strategy: Strategy, kept: tuple[str, ...] = (), whole: tuple[str, ...] = ()
) -> None:
    """Put LoRA layers into a ``Sam``, in place; see :func:`target_names`."""
    config = LoraConfig(
        r=strategy.rank,
        lora_alpha=strategy.alpha,  # type: ignore[arg-type]
        target_modules=target_names(network, strategy, kept, whole),
        use_rslora=strategy.rslora,
        use_dora=strategy.dora,
    )
    parts = "".join(part for part in "qkv" if part in strategy.projections)
    if parts not in ("", "qkv"):
        _mark(network, parts)
        config._register_custom_module({FusedProjection: PartialLora})
    inject_adapter_in_model(config, network, adapter_name=_NAME)


def _mark(network: Any, parts: str) -> None:
    encoder = network.image_encoder
    for module in encoder.modules():
        layer = getattr(module, "qkv", None)
        if type(layer) is nn.Linear:
            heads = getattr(module, "num_heads", None) or module.heads
            mark_fused(layer, int(heads), isinstance(encoder, TinyViT), parts)


def merge_lora(network: nn.Module) -> None:
    """Add all LoRA changes to the weights and take the LoRA layers out, in place."""
    for name, module in list(network.named_modules()):
        if not isinstance(module, LoraLayer):
            continue
        module.merge()
        base: Any = module.get_base_layer()
        if isinstance(base, FusedProjection):
            _unmark(base)
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, base)


def _unmark(layer: Any) -> None:
    layer.__class__ = nn.Linear
    del layer.lora_rows


def lora_parameter_names(network: nn.Module) -> set[str]:
    """Names of the parameters that LoRA has added."""
    return {name for name, _ in network.named_parameters() if ".lora_" in name}
