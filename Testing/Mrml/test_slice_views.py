"""Which voxel slice a slice view stands for, with MRML's own slice nodes."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.errors import GeometryError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import AXES, SliceIndex, resolve_axis  # noqa: E402
from SAMFinetuneLogic.imaging.volume import Volume  # noqa: E402
from SAMFinetuneLogic.mrml.slice_views import align_view, show_slice, slice_in_view  # noqa: E402

RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def add_view(scene, orientation="Axial"):
    node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    node.SetLayoutName("Red")
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    node.SetOrientation(orientation)
    return node


def to_ras(node):
    return slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())


def a_volume(seed, turn=True):
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] if turn else np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    matrix[:3, :3] = axes * rng.uniform(0.5, 3, 3)
    matrix[:3, 3] = rng.uniform(-20, 20, 3)
    return Volume(np.zeros((7, 9, 11), np.uint8), matrix)


@RELAXED
@given(seed=st.integers(0, 2**32 - 1), orientation=st.sampled_from(["Axial", "Coronal", "Sagittal"]), data=st.data())
def test_anatomical_views_of_straight_volumes(seed, orientation, data, new_scene):
    volume = a_volume(seed, turn=False)
    view = add_view(new_scene(), orientation)
    axis = resolve_axis(orientation, volume.ijk_to_ras)
    index = data.draw(st.integers(0, volume.slice_count(axis) - 1))
    show_slice(view, volume, SliceIndex(axis, index))
    found = slice_in_view(volume, view)
    assert found.slice == SliceIndex(axis, index)
    assert found.inside
    assert found.notice is None
    assert found.tilt_degrees == pytest.approx(0, abs=1e-5)


@RELAXED
@given(seed=st.integers(0, 2**32 - 1), axis=st.sampled_from(AXES), orientation=st.sampled_from(["Axial", "Coronal"]))
def test_an_aligned_view_shows_exactly_the_slice(seed, axis, orientation, new_scene):
    volume = a_volume(seed)
    view = add_view(new_scene(), orientation)
    handedness = np.linalg.det(to_ras(view)[:3, :3])
    wanted = SliceIndex(axis, 3)
    align_view(view, volume, wanted)
    matrix = to_ras(view)
    np.testing.assert_allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(handedness)
    found = slice_in_view(volume, view)
    assert (found.slice, found.inside, found.notice) == (wanted, True, None)
    # Any point of the view's plane lies on that slice.
    for point in ((40, -30, 0, 1), (-7, 12, 0, 1)):
        ras = (matrix @ point)[:3]
        assert volume.ras_to_slice(ras[None], axis)[0, 0] == pytest.approx(3, abs=1e-6)


@RELAXED
@given(seed=st.integers(0, 2**32 - 1))
def test_a_rotated_view_stands_for_the_nearest_axis(seed, new_scene):
    volume = a_volume(seed)
    view = add_view(new_scene())
    rng = np.random.default_rng(seed + 1)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    matrix[:3, 3] = volume.to_ras(np.array([[5.2, 4.1, 2.9]]))[0]
    view.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))
    view.UpdateMatrices()
    found = slice_in_view(volume, view)
    columns = volume.ijk_to_ras[:3, :3] / np.array(volume.spacing)
    cosines = np.abs(columns.T @ matrix[:3, 2])
    assert AXES.index(found.slice.axis) == int(np.argmax(cosines))
    assert found.slice.index == {"i": 5, "j": 4, "k": 3}[found.slice.axis]
    assert found.tilt_degrees == pytest.approx(np.degrees(np.arccos(cosines.max())), abs=1e-4)
    assert (found.notice is None) == (found.tilt_degrees <= 1)
    # At the cursor it is the slice that the cursor is on.
    at = slice_in_view(volume, view, volume.to_ras(np.array([[1, 1, 1.0]]))[0])
    assert at.slice == SliceIndex(found.slice.axis, 1)


def test_outside_of_the_volume_there_is_nothing(a_scene):
    volume = Volume(np.zeros((7, 9, 11), np.uint8), np.eye(4))
    view = add_view(a_scene)
    view.SetSliceOffset(100)
    assert not slice_in_view(volume, view).inside
    with pytest.raises(GeometryError, match="outside"):
        show_slice(view, volume, SliceIndex("k", 7))
    with pytest.raises(GeometryError, match="outside"):
        align_view(view, volume, SliceIndex("k", -1))
