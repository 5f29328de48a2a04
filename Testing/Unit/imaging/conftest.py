"""Grids for the geometry tests, drawn by hypothesis."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation


def _draw_affine(data: st.DataObject, largest_offset: float = 250.0) -> np.ndarray:
    """Oblique, flipped, permuted, anisotropic, of either handedness; exact quarter turns and slight tilts included."""
    turns = data.draw(st.tuples(*[st.sampled_from([0.0, 90.0, 180.0, 270.0])] * 3), label="quarter turns")
    tilts = data.draw(
        st.one_of(
            st.just((0.0, 0.0, 0.0)),
            st.tuples(*[st.floats(-0.01, 0.01)] * 3),
            st.tuples(*[st.floats(-180.0, 180.0)] * 3),
        ),
        label="tilts",
    )
    spacing = data.draw(st.tuples(*[st.floats(0.05, 10.0)] * 3), label="spacing")
    order = data.draw(st.permutations(range(3)), label="order of axes")
    signs = data.draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), label="flips")
    offset = data.draw(st.tuples(*[st.floats(-largest_offset, largest_offset)] * 3), label="offset")
    rotation = (
        Rotation.from_euler("xyz", tilts, degrees=True) * Rotation.from_euler("xyz", turns, degrees=True)
    ).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation[:, order] * np.array(signs) * np.array(spacing)
    affine[:3, 3] = offset
    return affine


@pytest.fixture(scope="session")
def draw_affine() -> Callable[..., np.ndarray]:
    """A function that draws a random affine from hypothesis' ``data``."""
    return _draw_affine


@pytest.fixture(scope="session")
def an_affine() -> np.ndarray:
    """One oblique, left-handed, anisotropic grid."""
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", [20, -12, 30], degrees=True).as_matrix()
    affine[:3, :3] = rotation[:, [1, 2, 0]] * np.array([0.7, -1.5, 3.0])
    affine[:3, 3] = 12.5, -40.25, 101.0
    assert np.linalg.det(affine) < 0
    return affine
