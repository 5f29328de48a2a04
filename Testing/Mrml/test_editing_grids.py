"""Writing masks into segments on other grids, under transforms, and after the scene was opened again."""

import numpy as np
import pytest
from mrml_masks import in_volume, on_slice, random_mask

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")
vtk = pytest.importorskip("vtk")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from SAMFinetuneLogic.imaging.axes import SliceIndex  # noqa: E402
from SAMFinetuneLogic.imaging.geometry import inverse_affine  # noqa: E402
from SAMFinetuneLogic.mrml.editing import SegmentWriter  # noqa: E402
from SAMFinetuneLogic.mrml.segments import (  # noqa: E402
    add_segment,
    add_segmentation,
    segment_mask,
)
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402


@pytest.mark.parametrize("seed", range(6))
def test_transforms_of_both_nodes_are_respected(seed, a_scene, add_volume_node, add_linear_transform):
    rng = np.random.default_rng(seed)

    def affine():
        matrix = np.eye(4)
        matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3)
        matrix[:3, 3] = rng.uniform(-50, 50, 3)
        return matrix

    volume_node = add_volume_node(a_scene, np.zeros((4, 5, 6), np.uint8), affine())
    volume_node.SetAndObserveTransformNodeID(add_linear_transform(a_scene, affine()).GetID())
    volume = read_volume(volume_node).volume
    node = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "s")
    node.CreateDefaultDisplayNodes()
    placed = add_linear_transform(a_scene, affine())
    node.SetAndObserveTransformNodeID(placed.GetID())
    liver = add_segment(node, "liver")

    writer = SegmentWriter(node, volume_node, volume)
    mask = random_mask(seed, (5, 6))
    writer.write_slice(liver, SliceIndex("k", 2), mask)

    np.testing.assert_array_equal(segment_mask(node, liver, volume), in_volume(volume, SliceIndex("k", 2), mask))
    # Where MRML itself puts the labelmap's voxels in the world.
    labelmap = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(liver, labelmap)
    start = labelmap.GetExtent()[::2]
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    scalars = vtk_to_numpy(labelmap.GetPointData().GetScalars())
    voxels = np.argwhere(scalars.reshape(labelmap.GetDimensions()[::-1]))
    worlds = []
    for k, j, i in voxels:
        own = matrix.MultiplyPoint((i + start[0], j + start[1], k + start[2], 1.0))[:3]
        world = [0.0] * 3
        node.TransformPointToWorld(own, world)
        worlds.append(world)
    rows, cols = np.nonzero(mask)
    expected = volume.slice_to_ras(np.stack([np.full(len(rows), 2), rows, cols], axis=1), "k")
    np.testing.assert_allclose(sorted(worlds), sorted(expected.tolist()), atol=1e-6)


def test_a_segmentation_on_another_grid_gets_the_nearest_voxels(a_scene, add_volume_node):
    """Twice as fine in plane, half as fine across, turned and shifted: brute force over its voxels."""
    volume_node = add_volume_node(a_scene, np.zeros((6, 8, 10), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]))
    turned = np.array([[0, -0.5, 0, 9.3], [0.5, 0, 0, -1.4], [0, 0, 3.0, -2.1], [0, 0, 0, 1]])
    other = add_volume_node(a_scene, np.zeros((7, 24, 24), np.uint8), turned)
    volume, fine = read_volume(volume_node).volume, read_volume(other).volume
    node = add_segmentation(a_scene, other, fine)
    liver, spleen = add_segment(node, "liver"), add_segment(node, "spleen")
    writer = SegmentWriter(node, volume_node, volume)
    start = random_mask(1, fine.shape, 0.3)
    SegmentWriter(node, other, fine).write_slices({liver: dict(enumerate(start)), spleen: {}}, "k")
    np.testing.assert_array_equal(segment_mask(node, liver, fine), start)

    mask = random_mask(2, (8, 10))
    writer.write_slice(liver, SliceIndex("k", 3), mask)

    expected = start.copy()
    mapping = inverse_affine(volume.ijk_to_ras) @ fine.ijk_to_ras
    for k, j, i in np.ndindex(fine.shape):
        x, y, z = np.floor((mapping @ (i, j, k, 1))[:3] + 0.5 + 1e-6).astype(int)
        if z == 3 and 0 <= y < 8 and 0 <= x < 10:
            expected[k, j, i] = mask[y, x]
    np.testing.assert_array_equal(segment_mask(node, liver, fine), expected)
    assert not segment_mask(node, spleen, fine).any()


@pytest.mark.parametrize("left_handed", [False, True])
def test_editing_goes_on_after_the_scene_was_opened_again(left_handed, a_scene, add_volume_node, reopened):
    """A left-handed volume is turned around by Slicer then, and its segmentation's reference geometry is not."""
    matrix = np.array([[2.0, 0, 0, 5], [0, 0, -1.5, 3], [0, 1.1, 0, -8], [0, 0, 0, 1]])
    matrix = matrix @ np.diag([1, 1, -1, 1]) if left_handed else matrix
    volume_node = add_volume_node(a_scene, np.zeros((5, 6, 7), np.int16), matrix)
    volume = read_volume(volume_node).volume
    node = add_segmentation(a_scene, volume_node, volume)
    liver, spleen = add_segment(node, "liver"), add_segment(node, "spleen")
    writer = SegmentWriter(node, volume_node, volume)
    before = [random_mask(0, (5, 6, 7), 0.3), random_mask(1, (5, 6, 7), 0.3)]
    before[0] &= ~before[1]
    writer.write_slices({liver: dict(enumerate(before[0])), spleen: dict(enumerate(before[1]))}, "k")

    scene = reopened(a_scene)
    volume_node = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    volume = read_volume(volume_node).volume
    expected = [mask[::-1].copy() if left_handed else mask.copy() for mask in before]
    for segment_id, mask in zip((liver, spleen), expected, strict=True):
        np.testing.assert_array_equal(segment_mask(node, segment_id, volume), mask)
    writer = SegmentWriter(node, volume_node, volume)
    for s in (SliceIndex("k", 0), SliceIndex("k", 4), SliceIndex("i", 2)):
        mask = random_mask(s.index, volume.slice_shape(s.axis))
        writer.write_slice(liver, s, mask)
        there = on_slice(volume, s)
        drawn = in_volume(volume, s, mask)
        expected[0] = (expected[0] & ~there) | drawn
        expected[1] &= ~drawn
        for segment_id, wanted in zip((liver, spleen), expected, strict=True):
            np.testing.assert_array_equal(segment_mask(node, segment_id, volume), wanted)
    for _ in range(3):
        writer.undo()
    np.testing.assert_array_equal(segment_mask(node, spleen, volume), before[1][::-1] if left_handed else before[1])


def test_a_writer_on_a_colour_image_obeys_its_first_component(new_scene, add_volume_node):
    scene = new_scene()
    voxels = np.random.default_rng(0).integers(0, 256, (1, 6, 7, 3)).astype(np.uint8)
    volume_node = add_volume_node(scene, voxels, np.eye(4))
    volume = read_volume(volume_node).volume
    node = add_segmentation(scene, volume_node, volume)
    segment_id = add_segment(node)
    writer = SegmentWriter(node, volume_node, volume)
    writer.editor_node.SetSourceVolumeIntensityMask(True)
    writer.editor_node.SetSourceVolumeIntensityMaskRange(100, 255)
    written = writer.write_slice(segment_id, SliceIndex("k", 0), np.ones((6, 7)))
    expected = voxels[..., 0] >= 100
    np.testing.assert_array_equal(segment_mask(node, segment_id, volume), expected)
    assert written.refused == (~expected).sum()
    assert "masking" in written.notice
