"""A small stock SAM and a small compact model with random weights, and a volume with two bright structures."""

import numpy as np
import pytest
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.fewshot.collection import SupportCollection
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.loaded_model import LoadedModel

CLASSES = (Segment(1, "ball", (1.0, 0.0, 0.0)), Segment(4, "bar", (0.0, 1.0, 0.0)))
WINDOW = Window(0.0, 200.0, "full")


@pytest.fixture(scope="session")
def a_stock_model() -> LoadedModel:
    return loaded(small_stock_sam().requires_grad_(False))


@pytest.fixture(scope="session")
def a_compact_model() -> LoadedModel:
    return loaded(small_compact_sam().requires_grad_(False))


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
