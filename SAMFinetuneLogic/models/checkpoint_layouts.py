"""Telling which network a dictionary of tensors belongs to, and what it looks like when it is none of ours."""

from collections.abc import Mapping

import torch

from SAMFinetuneLogic.models.catalogue import Backbone
from SAMFinetuneLogic.models.checkpoint_files import Checkpoint

BACKBONE_TITLES: Mapping[str, str] = {
    "vit_b": "a SAM with a ViT-B encoder",
    "vit_l": "a SAM with a ViT-L encoder",
    "vit_h": "a SAM with a ViT-H encoder",
    "vit_t": "a SAM with MobileSAM's TinyViT encoder",
    "vit_t_256": "a SAM with LiteMedSAM's TinyViT encoder",
    "compact": "a SAMFinetune model",
}

_VIT_WIDTHS: Mapping[int, Backbone] = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_VIT_KEY = "image_encoder.patch_embed.proj.weight"
_TINY_KEY = "image_encoder.patch_embed.seq.0.c.weight"

_SIGNS: tuple[tuple[tuple[str, ...], str], ...] = (
    # More specific signs first: several families build on SAM's names.
    (("mask_decoder.hf_token", "mask_decoder.hf_mlp"), "an HQ-SAM checkpoint (SAM with a high-quality head)"),
    ((".Adapter.channel", ".Adapter.spatial"), "a SAM-Med2D checkpoint with adapters"),
    (("MLP_Adapter", "Space_Adapter", "Depth_Adapter"), "a finetune-SAM checkpoint with adapters"),
    (("linear_a_q", "w_identity"), "a finetune-SAM checkpoint with LoRA layers"),
    (("w_a_linear", "w_b_linear"), "a micro-sam checkpoint with LoRA layers"),
    (("lora_A", "lora_B", "lora_embedding"), "a LoRA adapter, which belongs on top of a model"),
    (("attention_fusion",), "a SegmentAnyBone checkpoint"),
    (("image_encoder.trunk", "memory_attention", "memory_encoder"), "a SAM 2 checkpoint"),
    (("vision_encoder.", "shared_image_embedding"), "a SAM checkpoint in Hugging Face's layout"),
    (("dino_head", "ibot_", "teacher", "student", "cls_token"), "a DINO, DINOv2 or MAE backbone"),
    (("network_weights", "seg_layers", "decoder.stages"), "an nnU-Net checkpoint"),
    (("layer1.0.conv1",), "a ResNet"),
)


def recognise(checkpoint: Checkpoint) -> Backbone | None:
    """The backbone that the tensors' names and shapes point to, or None. Says nothing about completeness."""
    if "config" in checkpoint.metadata:
        return "compact"
    if _family(checkpoint) is not None:
        return None
    state = checkpoint.state
    if _VIT_KEY in state:
        return _VIT_WIDTHS.get(state[_VIT_KEY].shape[0])
    if _TINY_KEY in state:
        return "vit_t" if state[_TINY_KEY].shape[-1] == 3 else "vit_t_256"
    return None


def is_encoder_only(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether the tensors hold an image encoder and no mask decoder."""
    has_encoder = _VIT_KEY in state or _TINY_KEY in state or "patch_embed.proj.weight" in state
    return has_encoder and not any(name.startswith("mask_decoder.") for name in state)


def describe(checkpoint: Checkpoint) -> str:
    """What the file looks like, for a sentence that begins with its name."""
    state, backbone = checkpoint.state, recognise(checkpoint)
    if backbone is None:
        return _family(checkpoint) or _describe_stranger(checkpoint)
    title = BACKBONE_TITLES[backbone]
    if is_encoder_only(state):
        return f"the image encoder of {title}, without a mask decoder"
    tokens = state.get("mask_decoder.mask_tokens.weight")
    if tokens is not None and tokens.shape[0] != 4:
        classes = tokens.shape[0] - 1
        return f"a finetune-SAM checkpoint for {classes} classes (automatic, without prompts)"
    positions = state.get("image_encoder.pos_embed")
    if positions is not None and positions.ndim == 4 and positions.shape[1] != 64:
        side = positions.shape[1] * 16
        return f"{title} for images of {side} x {side} pixels (as SAM-Med2D's FT-SAM)"
    return title


def _describe_stranger(checkpoint: Checkpoint) -> str:
    state = checkpoint.state
    if "patch_embed.proj.weight" in state and "neck.0.weight" in state:
        return "the image encoder of a SAM alone"
    if any(name.startswith("mask_decoder.") for name in state):
        return "a SAM with an image encoder of another kind"
    names = sorted(state or checkpoint.names)[:3]
    return f"a checkpoint of another kind (it begins with {', '.join(names)})" if names else "an empty checkpoint"


def _family(checkpoint: Checkpoint) -> str | None:
    names = [*checkpoint.state, *checkpoint.names]
    for signs, title in _SIGNS:
        if any(sign in name for name in names for sign in signs):
            return title
    return None
