"""Markups to prompts: against the files that Slicer writes of them, and against brute force."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")
vtk = pytest.importorskip("vtk")

from SAMFinetuneLogic.errors import GeometryError, InputError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import AXES, SliceIndex, array_axis  # noqa: E402
from SAMFinetuneLogic.mrml.markups import (  # noqa: E402
    is_placed,
    lasso,
    point_prompt,
    prompts_of,
    set_negative,
    set_points,
)
from SAMFinetuneLogic.mrml.polygons import fill_polygon  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402
from SAMFinetuneLogic.prompting.prompt_files import read_prompts  # noqa: E402
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, PointPrompt  # noqa: E402

RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def affine(rng):
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3)
    matrix[:3, 3] = rng.uniform(-20, 20, 3)
    return matrix


def add(scene, kind, points=(), name="drawn"):
    node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", name)
    for point in points:
        node.AddControlPointWorld(vtk.vtkVector3d(*point))
    return node


def corners_of(prompt):
    return np.array(sorted(tuple(np.round(point, 6) + 0.0) for point in prompt.points))


@pytest.mark.parametrize("kind", ["Fiducial", "ROI", "Plane", "Line", "Curve"])
def test_the_scene_and_its_file_give_the_same_prompts(kind, a_scene, tmp_path):
    rng = np.random.default_rng(0)
    count = {"Fiducial": 4, "ROI": 0, "Plane": 3, "Line": 2, "Curve": 4}[kind]
    node = add(a_scene, kind, rng.uniform(-30, 30, (count, 3)))
    if kind == "ROI":
        node.GetObjectToNodeMatrix().DeepCopy(slicer.util.vtkMatrixFromArray(affine(rng)))
        turn = np.eye(4)
        turn[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn[:3, 3] = 5, 6, 7
        node.GetObjectToNodeMatrix().DeepCopy(slicer.util.vtkMatrixFromArray(turn))
        node.SetSize(10, 20, 30)
    if kind == "Fiducial":
        node.SetNthControlPointDescription(1, "negative")
        node.SetNthControlPointLabel(2, "neg-3")
    if kind == "Curve":
        node.SetCurveTypeToLinear()
    path = tmp_path / "saved.mrk.json"
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    if kind in ("ROI", "Plane"):
        storage = getattr(slicer, f"vtkMRMLMarkups{kind}JsonStorageNode")()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)

    here, there = prompts_of(node), read_prompts(path)[0].prompts

    assert len(here) == len(there)
    for mine, expected in zip(here, there, strict=True):
        assert type(mine) is type(expected)
        if isinstance(mine, PointPrompt):
            assert mine.positive == expected.positive
            np.testing.assert_allclose(mine.position, expected.position, atol=1e-5)
        elif isinstance(mine, BoxPrompt):
            if kind == "ROI":
                np.testing.assert_allclose(corners_of(mine), corners_of(expected), atol=1e-4)
            else:  # the file's plane has eight corners, of which four coincide
                assert {tuple(np.round(p, 2)) for p in mine.points} == {tuple(np.round(p, 2)) for p in expected.points}
        else:
            # What is shown of a curve also runs through all of its control points, in their order.
            shown = np.array(mine.points)
            nearest = [int(np.argmin(np.linalg.norm(shown - point, axis=1))) for point in expected.points]
            assert nearest == sorted(nearest)
            np.testing.assert_allclose(shown[nearest], expected.points, atol=1e-3)


@RELAXED
@given(seed=st.integers(0, 2**32 - 1), bent=st.booleans())
def test_parents_of_markups_are_part_of_their_place(seed, bent, new_scene, add_linear_transform, add_bend):
    rng = np.random.default_rng(seed)
    scene = new_scene()
    parent = add_bend(scene, seed=seed % 100) if bent else add_linear_transform(scene, affine(rng))
    transform = vtk.vtkGeneralTransform()
    parent.GetTransformToWorld(transform)
    points = add(scene, "Fiducial", rng.uniform(-10, 10, (3, 3)))
    roi = add(scene, "ROI")
    roi.SetCenter(*rng.uniform(-5, 5, 3))
    roi.SetSize(4, 6, 8)
    own = [np.array([0.0] * 3) for _ in range(3)]
    for n in range(3):
        points.GetNthControlPointPosition(n, own[n])
    corners = np.array(roi.GetCenter()) + (np.array(list(np.ndindex(2, 2, 2))) - 0.5) * (4, 6, 8)
    for node in (points, roi):
        node.SetAndObserveTransformNodeID(parent.GetID())
    for n, prompt in enumerate(prompts_of(points)):
        np.testing.assert_allclose(prompt.position, transform.TransformPoint(own[n]), atol=1e-6)
    expected = BoxPrompt(tuple(tuple(transform.TransformPoint(corner)) for corner in corners))
    np.testing.assert_allclose(corners_of(prompts_of(roi)[0]), corners_of(expected), atol=1e-5)


def test_what_is_not_placed_is_no_prompt(a_scene):
    node = add(a_scene, "Fiducial", [(1, 2, 3), (4, 5, 6), (7, 8, 9)])
    node.SetNthControlPointPositionMissing(1)
    node.SetNthControlPointPosition(2, 7.0, 8.0, 9.0, node.PositionPreview)
    assert [is_placed(node, n) for n in range(3)] == [True, False, False]
    assert prompts_of(node) == (PointPrompt((1, 2, 3)),)
    with pytest.raises(InputError, match="not placed"):
        point_prompt(node, 2)
    with pytest.raises(InputError, match="not placed"):
        point_prompt(node, 3)
    for kind in ("ROI", "Plane", "Line", "Curve"):
        assert prompts_of(add(a_scene, kind)) == ()


def test_a_list_s_polarity_wins_over_labels(a_scene):
    node = add(a_scene, "Fiducial", [(1, 2, 3), (4, 5, 6)], name="negative")
    assert [prompt.positive for prompt in prompts_of(node)] == [False, False]
    set_negative(node, False)
    assert [prompt.positive for prompt in prompts_of(node)] == [True, True]
    set_negative(node, True)
    node.SetName("liver")
    assert [prompt.positive for prompt in prompts_of(node)] == [False, False]


def test_other_markups_are_refused(a_scene, a_volume_node):
    with pytest.raises(InputError, match="cannot be a prompt"):
        prompts_of(add(a_scene, "Angle", [(0, 0, 0), (1, 0, 0), (1, 1, 0)]))
    roi = add(a_scene, "ROI")
    roi.SetSize(1, 2, 3)
    roi.SetInsideOut(True)
    with pytest.raises(InputError, match="inside out"):
        prompts_of(roi)
    curve = add(a_scene, "ClosedCurve", [(0, 0, 0), (1, 0, 0), (1, 1, 0)])
    with pytest.raises(InputError, match="needs a volume"):
        prompts_of(curve)


# Back to markups


def test_points_come_back(a_scene, add_linear_transform):
    node = add(a_scene, "Fiducial", [(9, 9, 9)])
    node.SetAndObserveTransformNodeID(add_linear_transform(a_scene, affine(np.random.default_rng(0))).GetID())
    for polarities in ((True, True), (False, False), (True, False), (False, True), ()):
        prompts = [PointPrompt((n, 2.0, -3.5), positive) for n, positive in enumerate(polarities)]
        set_points(node, prompts)
        back = prompts_of(node)
        assert [p.positive for p in back] == list(polarities)
        for mine, expected in zip(back, prompts, strict=True):
            np.testing.assert_allclose(mine.position, expected.position, atol=1e-9)


# Lasso


@RELAXED
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(3, 9),
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
)
def test_polygons_are_filled_by_the_even_odd_rule(seed, count, shape):
    corners = np.random.default_rng(seed).uniform(-3, 16, (count, 2))
    found = fill_polygon(corners, shape)
    for row, col in np.ndindex(shape):
        inside = False
        for (r0, c0), (r1, c1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if (r0 > row) != (r1 > row) and col < (c1 - c0) * (row - r0) / (r1 - r0) + c0:
                inside = not inside
        assert found[row, col] == inside


def test_polygons_that_share_an_edge_share_no_pixel():
    left = fill_polygon(np.array([[0, 0], [0, 4], [6, 4], [6, 0]]), (7, 9))
    right = fill_polygon(np.array([[0, 4], [0, 8], [6, 8], [6, 4]]), (7, 9))
    assert not (left & right).any()
    assert (left | right).sum() == 6 * 8


@pytest.mark.parametrize("axis", AXES)
def test_a_closed_curve_encloses_the_pixels_inside(axis, a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    outline = np.array([[1, 0.6, 0.7], [1, 4.4, 0.8], [1, 4.3, 4.6], [1, 0.7, 4.2]])
    node = add(a_scene, "ClosedCurve", volume.slice_to_ras(outline, axis))
    node.SetCurveTypeToLinear()
    found = lasso(node, volume)
    assert found.prompt.slice == SliceIndex(axis, 1)
    assert found.notice is None
    expected = np.zeros(volume.slice_shape(axis), bool)
    expected[1:5, 1:5] = True
    np.testing.assert_array_equal(found.prompt.mask(), expected)
    assert prompts_of(node, volume) == (found.prompt,)


def test_a_tilted_lasso_is_taken_on_the_nearest_slice_with_a_notice(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    outline = np.array([[1, 1, 1], [4, 1, 6], [4, 6, 6], [1, 6, 1]], float)
    node = add(a_scene, "ClosedCurve", volume.slice_to_ras(outline, "k"))
    node.SetCurveTypeToLinear()
    found = lasso(node, volume, "k")
    assert found.prompt.slice.axis == "k"
    assert found.prompt.slice.index in (2, 3)
    assert "crosses several slices" in found.notice


def test_a_lasso_must_enclose_something_of_the_volume(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    node = add(
        a_scene, "ClosedCurve", volume.slice_to_ras(np.array([[2, 1.2, 1.2], [2, 1.3, 1.2], [2, 1.3, 1.3]]), "k")
    )
    node.SetCurveTypeToLinear()
    with pytest.raises(InputError, match="no pixel"):
        lasso(node, volume)
    far = volume.slice_to_ras(np.array([[40, 1, 1], [40, 5, 1], [40, 5, 5]], float), "k")
    with pytest.raises(GeometryError, match="outside"):
        lasso(add(a_scene, "ClosedCurve", far), volume)
    with pytest.raises(InputError, match="three points"):
        lasso(add(a_scene, "ClosedCurve"), volume)


def test_array_axis_of_the_lasso_is_that_of_the_volume(a_scene, a_volume_node):
    """A lasso on slice i=7 becomes a mask in the plane of rows k and columns j."""
    volume = read_volume(a_volume_node).volume
    node = add(
        a_scene, "ClosedCurve", volume.slice_to_ras(np.array([[7, 0, 0], [7, 4, 0], [7, 4, 6], [7, 0, 6.0]]), "i")
    )
    node.SetCurveTypeToLinear()
    mask = lasso(node, volume).prompt.mask()
    assert mask.shape == tuple(np.delete(volume.shape, array_axis("i")))
