"""Implicit solids against closed forms."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from SAMFinetuneLogic.synthetic.phantom_shapes import (
    common,
    rotation_matrix,
    smooth_curve,
    superellipse_column,
    superellipsoid,
    tube,
    union,
    without,
)

COORDINATE = st.floats(-50, 50)
POINT = st.tuples(COORDINATE, COORDINATE, COORDINATE)


@given(POINT, POINT, st.floats(1, 30))
def test_a_superellipsoid_of_exponent_two_and_equal_radii_is_a_sphere(point, centre, radius):
    distance = superellipsoid(np.array([point]), centre, (radius, radius, radius))[0]
    assert np.isclose(distance, np.linalg.norm(np.subtract(point, centre)) - radius, atol=1e-2 * radius)


@given(POINT, st.floats(1.5, 4))
def test_the_sign_of_a_superellipsoid_is_that_of_its_equation(point, exponent):
    radii = (10.0, 20.0, 30.0)
    level = sum(abs(x / a) ** exponent for x, a in zip(point, radii, strict=True))
    if abs(level - 1) > 1e-6:
        assert (superellipsoid(np.array([point]), (0, 0, 0), radii, exponent)[0] < 0) == (level < 1)


@given(POINT, st.tuples(st.floats(-90, 90), st.floats(-90, 90), st.floats(-90, 90)))
def test_turning_the_body_is_turning_the_point_back(point, degrees):
    turn, points = rotation_matrix(degrees), np.array([point])
    turned = superellipsoid(points, (0, 0, 0), (5, 10, 20), 2.5, turn)
    assert np.allclose(turned, superellipsoid(points @ turn, (0, 0, 0), (5, 10, 20), 2.5), atol=1e-6)


@given(POINT)
def test_a_tube_is_the_distance_to_its_path(point):
    path = [(0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (20.0, 30.0, 0.0)]
    samples = np.concatenate([np.linspace(path[n], path[n + 1], 2001) for n in (0, 1)])
    expected = np.linalg.norm(samples - point, axis=1).min() - 4
    assert np.isclose(tube(np.array([point]), path, 4.0)[0], expected, atol=0.02)


def test_a_tube_narrows_along_its_path():
    points = np.array([[0.0, 6.0, 0.0], [100.0, 6.0, 0.0]])
    assert np.allclose(tube(points, [(0, 0, 0), (100, 0, 0)], [5.0, 1.0]), [1.0, 5.0])


def test_a_column_has_no_ends():
    points = np.array([[0.0, 11.0, z] for z in (-500.0, 0.0, 500.0)])
    assert np.allclose(superellipse_column(points, (0, 0), (5, 10)), 1.0)


def test_a_smooth_curve_passes_through_its_points():
    path = [(0.0, 0.0, 0.0), (10.0, 5.0, 0.0), (20.0, -5.0, 3.0)]
    curve = np.array(smooth_curve(path, 5))
    assert np.allclose(curve[[0, 2, 4]], path)


def test_bodies_combine_as_sets():
    points = np.random.default_rng(0).uniform(-20, 20, (500, 3))
    a = superellipsoid(points, (-5, 0, 0), (10, 10, 10))
    b = superellipsoid(points, (5, 0, 0), (10, 10, 10))
    assert np.array_equal(union(a, b) < 0, (a < 0) | (b < 0))
    assert np.array_equal(common(a, b) < 0, (a < 0) & (b < 0))
    assert np.array_equal(without(a, b) < 0, (a < 0) & (b > 0))
    # Blending only adds, and only near both surfaces.
    assert np.all(union(a, b, blend=4.0) <= union(a, b))
    far = np.abs(a - b) > 4
    assert np.allclose(union(a, b, blend=4.0)[far], union(a, b)[far])
