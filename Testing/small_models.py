"""Small models with random weights, for tests: their answers are arbitrary, but always the same."""

import json
from functools import partial
from pathlib import Path

import torch

from SAMFinetuneLogic.models.catalogue import ModelEntry
from SAMFinetuneLogic.models.compact import COMPACT_CONFIG, build_compact_sam
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import Preprocessing
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

SMALL_COMPACT = {
    **COMPACT_CONFIG,
    "size": 64,
    "widths": [8, 8, 16, 32],
    "depths": [1, 1, 1],
    "neck_width": 16,
    "embed_dim": 32,
    "decoder_mlp": 32,
    "spread_widths": [8, 8, 8],
}
"""The default model's architecture, made tiny."""


def small_compact_sam(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_compact_sam(SMALL_COMPACT).eval()


def small_stock_sam(size: int = 64, seed: int = 0) -> torch.nn.Module:
    """A ``Sam`` of segment_anything with two blocks, one of them windowed, and relative positions that matter."""
    import_segment_anything()
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(seed)
    grid = size // 16
    sam = Sam(
        ImageEncoderViT(
            img_size=size,
            patch_size=16,
            embed_dim=32,
            depth=2,
            num_heads=2,
            out_chans=32,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        ),
        PromptEncoder(32, (grid, grid), (size, size), mask_in_chans=16),
        MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            num_multimask_outputs=3,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    with torch.no_grad():  # they start at zero
        for block in sam.image_encoder.blocks:
            block.attn.rel_pos_h.normal_(std=0.2)
            block.attn.rel_pos_w.normal_(std=0.2)
    return sam.eval()


def loaded(network: torch.nn.Module, **changes) -> LoadedModel:
    """A network on the CPU, as the catalogue would describe SAM; ``changes`` to its entry."""
    facts = {
        "id": "test",
        "title": "Test model",
        "backbone": "vit_b",
        "url": None,
        "filename": "test.pth",
        "bytes": None,
        "sha256": None,
        "licence": "none",
        "licence_note": "",
        "non_commercial": False,
        "source": "",
        "preprocessing": Preprocessing("sam", "longest_pad", network.image_encoder.img_size),
        "prompts": ("point", "box", "mask"),
        "multimask": True,
    }
    return LoadedModel(network, ModelEntry(**{**facts, **changes}), "0" * 64, torch.device("cpu"), "fp32")


def write_small_compact(path: Path, seed: int = 0) -> Path:
    """Its checkpoint, as the package reads it."""
    from safetensors.torch import save_file

    weights = {name: value.contiguous() for name, value in small_compact_sam(seed).state_dict().items()}
    save_file(weights, path, {"samfinetune": json.dumps({"config": SMALL_COMPACT})})
    return path
