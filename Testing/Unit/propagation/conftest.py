"""Small volumes with structures that change along the axis, and a network that answers at once."""

import numpy as np
import pytest
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.propagation import auto_context

FULL_STEPS = auto_context.STEPS


@pytest.fixture(autouse=True)
def _briefly(monkeypatch):
    """Where it does not matter how much the network of a volume learns."""
    monkeypatch.setattr(auto_context, "STEPS", 20)


@pytest.fixture
def at_length(monkeypatch):
    """Where it does."""
    monkeypatch.setattr(auto_context, "STEPS", FULL_STEPS)


def make_model(**changes) -> LoadedModel:
    return loaded(small_compact_sam(), **changes)


@pytest.fixture(scope="session")
def a_model() -> LoadedModel:
    """Random weights in the default model's architecture: its answers are arbitrary, but always the same."""
    return make_model()


@pytest.fixture
def make_a_model():
    return make_model


def ellipsoid(shape, centre, radii) -> np.ndarray:
    return sum(((np.indices(shape)[n] - centre[n]) / radii[n]) ** 2 for n in range(3)) <= 1


@pytest.fixture(scope="session")
def a_truth() -> LabelMap:
    """(k, j, i) = (24, 40, 44): an ellipsoid (1) on slices 3 to 20, and a smaller one (2) beside it on 8 to 16."""
    voxels = np.zeros((24, 40, 44), dtype=np.uint8)
    voxels[ellipsoid(voxels.shape, (11.5, 20, 15), (9, 12, 9))] = 1
    voxels[ellipsoid(voxels.shape, (12, 22, 33), (4.9, 8, 6))] = 2
    return LabelMap(voxels, affine())


def affine() -> np.ndarray:
    turn = np.deg2rad(25)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag([-1.0, 0.9, 2.5])
    matrix[:3, 3] = (12.0, -30.0, 50.0)
    return matrix


@pytest.fixture(scope="session")
def a_volume(a_truth) -> Volume:
    noise = np.random.default_rng(0).normal(0, 6, a_truth.shape)
    gray = 60 + 90 * (a_truth.voxels == 1) + 50 * (a_truth.voxels == 2) + noise
    return Volume(gray.astype(np.int16), a_truth.ijk_to_ras, modality="MR")


def only(labels: LabelMap, indices) -> LabelMap:
    """What is drawn on some slices along k."""
    voxels = np.zeros_like(labels.voxels)
    voxels[list(indices)] = labels.voxels[list(indices)]
    return LabelMap(voxels, labels.ijk_to_ras, labels.segments)


@pytest.fixture
def drawn(a_truth):
    """Call with slice indices: the truth on these slices alone."""
    return lambda *indices: only(a_truth, indices)
