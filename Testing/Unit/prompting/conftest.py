"""Small random models and volumes for the tests of prompting."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import settings

from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.models.catalogue import ModelEntry
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import Preprocessing
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

# A busy machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def build_small_sam(size: int = 64, seed: int = 0) -> torch.nn.Module:
    """A stock ``Sam`` of segment_anything with two blocks, random weights, and predicted IoUs that differ."""
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
    with torch.no_grad():  # relative positions start at zero: they should matter
        for block in sam.image_encoder.blocks:
            block.attn.rel_pos_h.normal_(std=0.2)
            block.attn.rel_pos_w.normal_(std=0.2)
    return sam.eval()


def make_model(network: torch.nn.Module, **changes) -> LoadedModel:
    """A loaded model around a network, as the catalogue would describe SAM."""
    size = network.image_encoder.img_size
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
        "preprocessing": Preprocessing("sam", "longest_pad", size),
        "prompts": ("point", "box", "mask"),
        "multimask": True,
    }
    return LoadedModel(network, ModelEntry(**{**facts, **changes}), "0" * 64, torch.device("cpu"), "fp32")


@pytest.fixture(scope="session")
def a_sam() -> torch.nn.Module:
    return build_small_sam()


@pytest.fixture
def make_a_model():
    return make_model


@pytest.fixture
def a_model(a_sam) -> LoadedModel:
    return make_model(a_sam)


@pytest.fixture
def a_box_model(a_sam) -> LoadedModel:
    return make_model(a_sam, title="Box model", prompts=("box",), multimask=False)


@pytest.fixture
def a_volume() -> Volume:
    """(k, j, i) = (6, 50, 40), oblique, 0.8 x 0.8 x 3 mm, with a bright ball."""
    angle = np.deg2rad(20)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-0.8, 0.8, 3.0])
    affine[:3, 3] = (12.0, -30.0, 50.0)
    k, j, i = np.indices((6, 50, 40))
    ball = (j - 25) ** 2 + (i - 18) ** 2 + (4 * (k - 3)) ** 2 < 12**2
    noise = np.random.default_rng(3).normal(0, 8, ball.shape)
    return Volume((100.0 * ball + 40 + noise).astype(np.int16), affine)
