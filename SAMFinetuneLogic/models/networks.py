"""Building the network of each backbone, and filling it with a checkpoint's tensors under strict checks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.catalogue import Backbone
from SAMFinetuneLogic.models.checkpoint_files import StateDict
from SAMFinetuneLogic.models.compact import build_compact_sam
from SAMFinetuneLogic.models.preprocessing import PIXEL_MEAN, PIXEL_STD
from SAMFinetuneLogic.models.tiny_vit import UNUSED_HEAD, TinyViT
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

import_segment_anything()
from segment_anything.modeling import (  # noqa: E402
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

_VIT_SHAPES: Mapping[str, tuple[int, int, int, tuple[int, ...]]] = {
    # width, blocks, heads, blocks with global attention: segment_anything/build_sam.py
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}
_EMBED_DIM = 256


def build_network(backbone: Backbone, config: Mapping[str, Any] | None = None) -> Sam:
    """A ``segment_anything`` ``Sam`` with random weights, in evaluation mode.

    Args:
        config: of a "compact" model, as stored in its checkpoint.
    """
    if backbone == "compact":
        return build_compact_sam(dict(config or {})).eval()
    size = 256 if backbone == "vit_t_256" else 1024
    if backbone in _VIT_SHAPES:
        encoder: nn.Module = _vit_encoder(*_VIT_SHAPES[backbone], size)
    else:
        encoder = TinyViT(size, stem_stride=1 if backbone == "vit_t_256" else 4)
    grid = (64, 64)
    prompt_encoder = PromptEncoder(_EMBED_DIM, grid, (size, size), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=_EMBED_DIM, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoder(
        transformer_dim=_EMBED_DIM,
        transformer=transformer,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    return Sam(encoder, prompt_encoder, decoder, list(PIXEL_MEAN), list(PIXEL_STD)).eval()


def load_network(state: StateDict, backbone: Backbone, name: str, config: Mapping[str, Any] | None = None) -> Sam:
    """The network with the checkpoint's weights, in evaluation mode, fp32, on the CPU.

    Args:
        state: tensors by official name; floating point tensors of other precisions are converted to fp32.
        name: of the file, for messages.

    Raises:
        ModelError: tensors are missing, left over, or of another shape.
    """
    wanted = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in without_unused_head(state, backbone).items()
    }
    if backbone == "compact":
        network = build_network(backbone, config)
        require_match(network, wanted, name)
        network.load_state_dict(wanted)
        return network
    with torch.device("meta"):  # no memory and no time for random weights that are replaced at once
        network = build_network(backbone)
    require_match(network, wanted, name)
    network.load_state_dict(wanted, assign=True)
    network.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)  # not stored in checkpoints
    network.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    return network


def without_unused_head(state: StateDict, backbone: Backbone) -> StateDict:
    """MobileSAM's checkpoint carries an ImageNet head that its segmenter never reads: leave it out."""
    if backbone != "vit_t":
        return state
    return {key: tensor for key, tensor in state.items() if not key.startswith(UNUSED_HEAD)}


def require_match(network: nn.Module, state: StateDict, name: str) -> None:
    """Names and shapes must agree exactly.

    Raises:
        ModelError: they do not; the message names the first differences.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    actual = {key: tuple(tensor.shape) for key, tensor in state.items()}
    problems = []
    missing, extra = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
    if missing:
        problems.append(f"{len(missing)} tensors are missing ({_some(missing)})")
    if extra:
        problems.append(f"{len(extra)} are unknown ({_some(extra)})")
    reshaped = [key for key in sorted(expected.keys() & actual.keys()) if expected[key] != actual[key]]
    if reshaped:
        examples = (f"{key} {actual[key]} instead of {expected[key]}" for key in reshaped)
        problems.append(f"{len(reshaped)} have another shape ({_some(list(examples))})")
    if problems:
        raise ModelError(f"{name} does not fit the network: {', '.join(problems)}; choose another checkpoint.")


def _vit_encoder(width: int, blocks: int, heads: int, global_blocks: tuple[int, ...], size: int) -> ImageEncoderViT:
    return ImageEncoderViT(
        img_size=size,
        patch_size=16,
        embed_dim=width,
        depth=blocks,
        num_heads=heads,
        mlp_ratio=4,
        out_chans=_EMBED_DIM,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=global_blocks,
    )


def _some(names: list[str]) -> str:
    return names[0] + (", ..." if len(names) > 1 else "")
