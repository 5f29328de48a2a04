"""Scribbles reduced to a few points."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist

from SAMFinetuneLogic.prompting.scribbles import spread_points, stroke_pixels


@given(st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=40), st.integers(1, 6))
def test_points_are_pixels_of_the_scribble_and_far_apart(pixels, count):
    pixels = np.array(sorted(pixels))
    points = spread_points(pixels, count)
    assert len(points) == min(count, len(pixels))
    assert {tuple(point) for point in points} <= {tuple(pixel) for pixel in pixels}
    if len(points) > 1:
        # Farthest point sampling: no pixel is farther from the points than these are from each other.
        assert cdist(pixels, points).min(axis=1).max() <= pdist(points).min() + 1e-9


def test_a_dot_is_one_point():
    np.testing.assert_array_equal(stroke_pixels(np.array([[2, 3.4, 5.5]])), [[2, 3, 6]])


def test_a_stroke_has_no_gaps():
    pixels = stroke_pixels(np.array([[0.0, 0, 0], [3, 20, 11], [3, 2, 1]]))
    on_last = pixels[pixels[:, 0] == 3, 1:]
    steps = np.abs(np.diff(on_last[np.argsort(on_last[:, 0])], axis=0))
    assert steps.max() <= 1
