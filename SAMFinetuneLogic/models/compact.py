"""The default model: a SAM with a small convolutional encoder, trained by this project on synthetic images."""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.compact_decoder import CompactMaskDecoder
from SAMFinetuneLogic.models.compact_encoder import CompactImageEncoder
from SAMFinetuneLogic.models.compact_prompt import DrawnPromptEncoder
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

import_segment_anything()
from segment_anything.modeling import Sam  # noqa: E402

COMPACT_CONFIG: Mapping[str, Any] = {
    "architecture": 2,
    "size": 128,
    "widths": [32, 96, 144, 256],
    "depths": [3, 3, 2],
    "neck_width": 128,
    "embed_dim": 256,
    "decoder_mlp": 256,
    "spread_widths": [96, 128, 160],
}
"""The released shape: 8.1 million parameters. ``size`` is the side of the input in pixels."""


def build_compact_sam(config: Mapping[str, Any]) -> Sam:
    """Build the model with random weights.

    Args:
        config: as :data:`COMPACT_CONFIG`; it is stored in the checkpoint.

    Raises:
        ModelError: the configuration is of another version or incomplete.
    """
    if config.get("architecture") != COMPACT_CONFIG["architecture"]:
        raise ModelError(
            f"The checkpoint's architecture is version {config.get('architecture')}, this release reads version "
            f"{COMPACT_CONFIG['architecture']}: update SAMFinetune, or use another checkpoint."
        )
    missing = sorted(set(COMPACT_CONFIG) - set(config))
    if missing:
        raise ModelError(f"The checkpoint's configuration lacks {', '.join(missing)}: the file is damaged.")
    size, embed_dim = int(config["size"]), int(config["embed_dim"])
    if size % 16:
        raise ModelError(f"The checkpoint's input size {size} is not a multiple of 16: the file is damaged.")
    encoder = CompactImageEncoder(
        size, tuple(config["widths"]), tuple(config["depths"]), config["neck_width"], embed_dim
    )
    prompt_encoder = DrawnPromptEncoder(embed_dim, (size // 4, size // 4), (size, size))
    decoder = CompactMaskDecoder(embed_dim, config["decoder_mlp"], tuple(config["spread_widths"]))
    # Convolutions run fastest on channels-last memory on every device that matters here.
    sam = Sam(encoder, prompt_encoder, decoder)
    return sam.to(memory_format=torch.channels_last)


def is_compact(sam: Any) -> bool:
    """Whether a network is of this architecture."""
    return isinstance(sam.image_encoder, CompactImageEncoder) and isinstance(sam.prompt_encoder, DrawnPromptEncoder)


def resized(sam: Sam, size: int) -> Sam:
    """The same network for another size of the input; the weights are shared, not copied.

    Args:
        sam: from :func:`build_compact_sam`.
        size: side of the input in pixels, a multiple of 16.
    """
    other = copy.copy(sam)
    other._modules = dict(sam._modules)
    other.image_encoder = copy.copy(sam.image_encoder)
    other.image_encoder.img_size = size
    prompts = copy.copy(sam.prompt_encoder)
    prompts.image_embedding_size = (size // 4, size // 4)
    prompts.input_image_size = prompts.mask_input_size = (size, size)
    other.prompt_encoder = prompts
    return other
