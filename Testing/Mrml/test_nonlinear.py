"""Volumes under non-linear transforms, against points pushed through MRML's own transform one by one."""

import numpy as np
import pytest
from scipy import ndimage

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.errors import GeometryError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import SliceIndex  # noqa: E402
from SAMFinetuneLogic.imaging.geometry import inverse_affine, transform_points  # noqa: E402
from SAMFinetuneLogic.mrml.editing import SegmentWriter  # noqa: E402
from SAMFinetuneLogic.mrml.matrices import from_world_points, own_ijk_to_ras, to_world_points  # noqa: E402
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation, segment_mask  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402


def smooth(shape):
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1000, shape), 2).astype(np.float32)


def expected_values(node, volume, order=1):
    """The values at each voxel of ``volume``, and where they are well inside of the source."""
    ijk = np.argwhere(np.ones(volume.shape, bool))[:, ::-1].astype(float)
    own = from_world_points(node, volume.to_ras(ijk))
    at = transform_points(inverse_affine(own_ijk_to_ras(node)), own)
    source = slicer.util.arrayFromVolume(node)
    size = np.array(source.shape[::-1])
    inside = ((at >= 0.01) & (at <= size - 1.01)).all(axis=1)
    values = ndimage.map_coordinates(source.astype(np.float64), at[:, ::-1].T, order=order, mode="nearest")
    return values.reshape(volume.shape), inside.reshape(volume.shape)


@pytest.mark.parametrize("shift", [(0, 0, 0), (40, -15, 22)])
def test_each_voxel_is_what_the_transform_puts_there(shift, a_scene, add_volume_node, add_bend):
    matrix = np.array([[0, 0.3, 2.0, 5], [1.5, 0, 0, -3], [0.1, -1, 0, 7], [0, 0, 0, 1]])
    node = add_volume_node(a_scene, smooth((9, 12, 14)), matrix)
    node.SetAndObserveTransformNodeID(add_bend(a_scene, shift=shift).GetID())

    found = read_volume(node)

    assert found.resampled
    assert "resampled" in found.notices[0]
    assert "bent" in found.notices[0]
    expected, inside = expected_values(node, found.volume)
    assert inside.mean() > 0.4
    # The inverse of the spline is found by iteration, to about a thousandth of a mm.
    np.testing.assert_allclose(found.volume.voxels[inside], expected[inside], atol=2e-3 * np.ptp(expected))


def test_nothing_of_the_volume_is_lost(a_scene, a_volume_node, add_bend):
    a_volume_node.SetAndObserveTransformNodeID(add_bend(a_scene, seed=3, strength=2.0).GetID())
    volume = read_volume(a_volume_node).volume
    ijk = np.argwhere(np.ones((6, 8, 10), bool))[:, ::-1].astype(float)
    world = to_world_points(a_volume_node, transform_points(own_ijk_to_ras(a_volume_node), ijk))
    at = volume.to_ijk(world)
    assert (at > -1).all()
    assert (at < np.array(volume.shape[::-1])).all()


def test_without_a_bend_the_grid_is_the_linear_one(a_scene, a_volume_node, add_volume_node, add_bend):
    """A spline that only shifts: the same voxels, moved, on a grid with perpendicular axes."""
    node = add_volume_node(a_scene, smooth((6, 7, 8)), np.diag([2.0, 3, 4, 1]))
    node.SetAndObserveTransformNodeID(add_bend(a_scene, strength=0.0, shift=(10, 20, 30)).GetID())
    volume = read_volume(node).volume
    np.testing.assert_allclose(volume.spacing, (2, 3, 4), atol=1e-3)
    assert volume.shape == (6, 7, 8)
    np.testing.assert_allclose(volume.to_ras(np.zeros((1, 3))), [[10, 20, 30]], atol=0.02)
    np.testing.assert_allclose(volume.voxels, slicer.util.arrayFromVolume(node), atol=5)


def test_labels_are_not_blended(a_scene, add_bend):
    node = a_scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(node, np.random.default_rng(0).choice([0, 7, 40], (8, 8, 8)).astype(np.int16))
    node.SetAndObserveTransformNodeID(add_bend(a_scene).GetID())
    assert set(np.unique(read_volume(node).volume.voxels)) <= {0, 7, 40}


def test_colours_are_resampled_too(a_scene, add_volume_node, add_bend):
    voxels = np.stack([smooth((6, 8, 10))] * 3, axis=-1)
    voxels = ((voxels - voxels.min()) / np.ptp(voxels) * 255).astype(np.uint8)
    node = add_volume_node(a_scene, voxels, np.eye(4))
    node.SetAndObserveTransformNodeID(add_bend(a_scene).GetID())
    found = read_volume(node).volume
    assert found.is_color
    np.testing.assert_array_equal(found.voxels[..., 0], found.voxels[..., 2])


def test_segments_are_drawn_on_the_new_grid_with_its_intensities(a_scene, add_volume_node, add_bend):
    node = add_volume_node(a_scene, smooth((9, 12, 14)), np.diag([1.5, 2.0, 2.5, 1.0]))
    node.SetAndObserveTransformNodeID(add_bend(a_scene).GetID())
    volume = read_volume(node).volume
    segmentation = add_segmentation(a_scene, node, volume)
    assert segmentation.GetParentTransformNode() is None
    segment_id = add_segment(segmentation)
    writer = SegmentWriter(segmentation, node, volume)
    mask = np.random.default_rng(0).random(volume.slice_shape("j")) < 0.5
    writer.write_slice(segment_id, SliceIndex("j", 4), mask)
    expected = np.zeros(volume.shape, bool)
    expected[:, 4] = mask
    np.testing.assert_array_equal(segment_mask(segmentation, segment_id, volume), expected)

    # The editable intensity range sees the volume as the transform shows it.
    writer.editor_node.SetSourceVolumeIntensityMask(True)
    writer.editor_node.SetSourceVolumeIntensityMaskRange(0, 1e6)
    writer.write_slice(segment_id, SliceIndex("j", 6), np.ones_like(mask))
    values, inside = expected_values(node, volume)
    sure = inside[:, 6] & (np.abs(values[:, 6]) > 2)
    drawn = segment_mask(segmentation, segment_id, volume)[:, 6]
    assert sure.any()
    np.testing.assert_array_equal(drawn[sure], (values[:, 6] > 0)[sure])


def test_a_transform_of_something_else_is_refused(a_scene, a_volume_node, add_bend):
    a_volume_node.SetAndObserveTransformNodeID(add_bend(a_scene, strength=400.0).GetID())
    with pytest.raises(GeometryError, match="transform"):
        read_volume(a_volume_node)
