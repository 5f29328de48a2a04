"""Small random models and volumes for the tests of prompting."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from small_models import loaded, small_stock_sam

from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.models.loaded_model import LoadedModel

# A busy machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def a_sam() -> torch.nn.Module:
    return small_stock_sam()


@pytest.fixture
def make_a_model():
    return loaded


@pytest.fixture
def a_model(a_sam) -> LoadedModel:
    return loaded(a_sam)


@pytest.fixture
def a_box_model(a_sam) -> LoadedModel:
    return loaded(a_sam, title="Box model", prompts=("box",), multimask=False)


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
