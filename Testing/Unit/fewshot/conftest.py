"""A small stock SAM and a small compact model with random weights, and a volume with two bright structures."""

from functools import partial

import numpy as np
import pytest
import torch

from SAMFinetuneLogic.fewshot.collection import SupportCollection
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.catalogue import ModelEntry
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import Preprocessing
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

CLASSES = (Segment(1, "ball", (1.0, 0.0, 0.0)), Segment(4, "bar", (0.0, 1.0, 0.0)))
WINDOW = Window(0.0, 200.0, "full")


def build_stock_sam(size: int = 64, seed: int = 0) -> torch.nn.Module:
    import_segment_anything()
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(seed)
    grid = size // 16
    return Sam(
        ImageEncoderViT(
            img_size=size,
            patch_size=16,
            embed_dim=32,
            depth=1,
            num_heads=2,
            out_chans=32,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        ),
        PromptEncoder(32, (grid, grid), (size, size), mask_in_chans=16),
        MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            num_multimask_outputs=3,
        ),
    ).eval()


def build_small_compact(seed: int = 0) -> torch.nn.Module:
    from SAMFinetuneLogic.models.compact import COMPACT_CONFIG, build_compact_sam

    torch.manual_seed(seed)
    small = {
        "size": 64,
        "widths": [8, 16, 16, 32],
        "depths": [1, 1, 1],
        "neck_width": 16,
        "embed_dim": 32,
        "decoder_mlp": 32,
        "spread_widths": [8, 8, 8],
    }
    return build_compact_sam({**COMPACT_CONFIG, **small}).eval()


def make_model(network: torch.nn.Module, title: str = "Test model") -> LoadedModel:
    size = network.image_encoder.img_size
    entry = ModelEntry(
        id="test",
        title=title,
        backbone="vit_b",
        url=None,
        filename="test.pth",
        bytes=None,
        sha256=None,
        licence="none",
        licence_note="",
        non_commercial=False,
        source="",
        preprocessing=Preprocessing("sam", "longest_pad", size),
        prompts=("point", "box", "mask"),
        multimask=True,
    )
    return LoadedModel(network.requires_grad_(False), entry, "0" * 64, torch.device("cpu"), "fp32")


@pytest.fixture(scope="session")
def a_stock_model() -> LoadedModel:
    return make_model(build_stock_sam())


@pytest.fixture(scope="session")
def a_compact_model() -> LoadedModel:
    return make_model(build_small_compact())


@pytest.fixture(scope="session", params=["compact", "stock"])
def a_model(request: pytest.FixtureRequest, a_stock_model: LoadedModel, a_compact_model: LoadedModel) -> LoadedModel:
    return a_compact_model if request.param == "compact" else a_stock_model


def make_case(seed: int = 0) -> tuple[Volume, LabelMap]:
    """(k, j, i) = (8, 40, 48): a bright ball and a less bright bar in noise, RAS order, so that slices are turned."""
    k, j, i = np.indices((8, 40, 48))
    ball = ((j - 14) / 8) ** 2 + ((i - 15) / 8) ** 2 + ((k - 3.5) / 4) ** 2 < 1
    bar = (abs(j - 30) < 5) & (abs(i - 34) < 8)
    rng = np.random.default_rng(seed)
    voxels = 40 + 130 * ball + 70 * bar + rng.normal(0, 5, ball.shape)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    volume = Volume(voxels.astype(np.float32), affine, name="case")
    labels = LabelMap((1 * ball + 4 * (bar & ~ball)).astype(np.uint8), affine, CLASSES)
    return volume, labels


@pytest.fixture(scope="session")
def a_case() -> tuple[Volume, LabelMap]:
    return make_case()


@pytest.fixture(scope="session")
def a_collection(a_model: LoadedModel, a_case: tuple[Volume, LabelMap]) -> SupportCollection:
    return new_collection(*a_case, indices=[1, 3, 5], model=a_model, window=WINDOW)


@pytest.fixture(scope="session")
def quick() -> FitSettings:
    """Enough to see the loss fall."""
    return FitSettings(steps=8, warm_steps=3, batch=2, augmentations=1, learning_rate=2e-3)
