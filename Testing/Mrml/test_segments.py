"""Segments on a volume's grid, against brute force over its voxels."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.errors import InputError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import SliceIndex  # noqa: E402
from SAMFinetuneLogic.imaging.geometry import inverse_affine  # noqa: E402
from SAMFinetuneLogic.mrml.images import oriented_image  # noqa: E402
from SAMFinetuneLogic.mrml.lattice import Block, move_block  # noqa: E402
from SAMFinetuneLogic.mrml.segments import (  # noqa: E402
    add_segment,
    add_segmentation,
    edit_matrix,
    segment_mask,
    segmentation_labels,
    slice_mask,
)
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402

RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


START = np.zeros(3, dtype=np.int64)


def affine(rng, spacing=(0.6, 1.8)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(*spacing, 3)
    matrix[:3, 3] = rng.uniform(-2, 2, 3)
    return matrix


def fill(node, segment_id, mask, matrix, value=1, start=None):
    """Put a labelmap into a segment, as a file reader does."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    segment.SetLabelValue(value)
    image = oriented_image(mask.astype(np.uint8) * np.uint8(value), matrix, start)
    segment.AddRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(), image)


def nearest(mask, matrix, shape, target):
    """Boolean of ``shape``: the nearest voxel of ``mask`` for each voxel, one by one."""
    result = np.zeros(shape, bool)
    mapping = inverse_affine(matrix) @ target
    for k, j, i in np.ndindex(shape):
        x, y, z = np.floor((mapping @ (i, j, k, 1))[:3] + 0.5 + 1e-6).astype(int)
        if 0 <= z < mask.shape[0] and 0 <= y < mask.shape[1] and 0 <= x < mask.shape[2]:
            result[k, j, i] = mask[z, y, x]
    return result


@RELAXED
@given(seed=st.integers(0, 2**32 - 1), moved=st.booleans())
def test_a_segment_on_another_grid_is_the_nearest_voxel(seed, moved, new_scene, add_volume_node, add_linear_transform):
    rng = np.random.default_rng(seed)
    scene = new_scene()
    volume_node = add_volume_node(scene, np.zeros((4, 5, 6), np.uint8), affine(rng))
    volume = read_volume(volume_node).volume
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "s")
    segment_id = add_segment(node, "liver")
    mask, matrix, parent = rng.random((5, 4, 7)) < 0.5, affine(rng), np.eye(4)
    fill(node, segment_id, mask, matrix)
    if moved:
        parent = affine(rng)
        node.SetAndObserveTransformNodeID(add_linear_transform(scene, parent).GetID())
    expected = nearest(mask, parent @ matrix, (4, 5, 6), volume.ijk_to_ras)
    found = segment_mask(node, segment_id, volume)
    # A position half-way between two voxels may fall to either side.
    assert (found != expected).sum() <= 1
    for s in (SliceIndex("k", 1), SliceIndex("j", 4), SliceIndex("i", 0)):
        np.testing.assert_array_equal(
            slice_mask(node, segment_id, volume, s),
            found[{"k": s.index, "j": np.s_[:, s.index], "i": np.s_[:, :, s.index]}[s.axis]],
        )


@RELAXED
@given(seed=st.integers(0, 2**32 - 1))
def test_blocks_move_like_whole_grids(seed):
    rng = np.random.default_rng(seed)
    mask, old, new = rng.random((4, 5, 3)) < 0.5, affine(rng), affine(rng)
    start = rng.integers(-5, 6, 3)
    moved = move_block(Block(mask, start), old, new)
    origin = old.copy()
    origin[:3, 3] += old[:3, :3] @ start
    shape = (8, 8, 8)
    expected = nearest(mask, origin, shape, new)
    assert (moved.cut(np.zeros(3, int), np.full(3, 8)).voxels != expected).sum() <= 1


def test_a_shift_by_whole_voxels_is_exact():
    mask = np.random.default_rng(0).random((4, 5, 6)) < 0.5
    matrix = affine(np.random.default_rng(1))
    target = matrix.copy()
    target[:3, 3] += matrix[:3, :3] @ [2, -3, 1] + 1e-4
    moved = move_block(Block(mask, START), matrix, target)
    assert moved.voxels is not None
    np.testing.assert_array_equal(moved.voxels, mask)
    np.testing.assert_array_equal(moved.start, [-2, 3, -1])


def test_cropping_and_cutting_undo_each_other():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 2, 3:5] = True
    block = Block(mask, START).cropped()
    assert block.voxels.shape == (2, 1, 2)
    np.testing.assert_array_equal(block.start, [3, 2, 1])
    np.testing.assert_array_equal(block.cut(np.zeros(3, int), np.array([6, 5, 4])).voxels, mask)
    assert Block(np.zeros((2, 2, 2), bool), START).cropped().voxels.size == 0


def test_a_labelmap_shared_by_segments_gives_each_its_own(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    node = add_segmentation(a_scene, a_volume_node, volume)
    first, second = add_segment(node, "a"), add_segment(node, "b")
    values = np.random.default_rng(0).choice([0, 3, 9], volume.shape).astype(np.uint8)
    image = oriented_image(values, volume.ijk_to_ras)
    for segment_id, value in ((first, 3), (second, 9)):
        segment = node.GetSegmentation().GetSegment(segment_id)
        segment.SetLabelValue(value)
        segment.AddRepresentation("Binary labelmap", image)
    np.testing.assert_array_equal(segment_mask(node, first, volume), values == 3)
    np.testing.assert_array_equal(segment_mask(node, second, volume), values == 9)


def test_a_label_map_holds_all_segments_by_name_and_colour(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    node = add_segmentation(a_scene, a_volume_node, volume)
    ids = [add_segment(node, "liver", (1.0, 0.0, 0.5)), add_segment(node, "tumour"), add_segment(node, "nothing")]
    rng = np.random.default_rng(0)
    masks = [rng.random(volume.shape) < 0.5 for _ in range(2)]
    for segment_id, mask in zip(ids, masks, strict=False):
        fill(node, segment_id, mask, volume.ijk_to_ras)  # each in a layer of its own, both of value 1
    found = segmentation_labels(node, volume)
    np.testing.assert_array_equal(found.labels.voxels, np.where(masks[1], 2, np.where(masks[0], 1, 0)))
    assert found.values == dict(zip(ids, (1, 2, 3), strict=True))
    assert [segment.name for segment in found.labels.segments] == ["liver", "tumour", "nothing"]
    assert found.labels.segments[0].color == pytest.approx((1.0, 0.0, 0.5))
    assert f"{(masks[0] & masks[1]).sum()} voxels" in found.notices[0]
    only = segmentation_labels(node, volume, [ids[1]])
    np.testing.assert_array_equal(only.labels.voxels, masks[1])
    assert only.notices == ()


def test_the_reference_geometry_is_what_slicer_itself_would_set(a_scene, a_volume_node, add_linear_transform):
    rng = np.random.default_rng(5)
    a_volume_node.SetAndObserveTransformNodeID(add_linear_transform(a_scene, affine(rng)).GetID())
    volume = read_volume(a_volume_node).volume
    node = add_segmentation(a_scene, a_volume_node, volume)
    mine = edit_matrix(node)
    node.SetReferenceImageGeometryParameterFromVolumeNode(a_volume_node)
    np.testing.assert_allclose(mine, edit_matrix(node), atol=1e-9)


def test_missing_segments_say_so(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    node = add_segmentation(a_scene, a_volume_node, volume)
    with pytest.raises(InputError, match="add one"):
        segmentation_labels(node, volume)
    with pytest.raises(InputError, match="'gone'"):
        segment_mask(node, "gone", volume)
    assert not segment_mask(node, add_segment(node), volume).any()


def test_a_given_name_stays_when_a_terminology_is_chosen(a_scene, a_volume_node):
    """Slicer's table replaces those names and colours that were made by themselves."""
    node = add_segmentation(a_scene, a_volume_node, read_volume(a_volume_node).volume)
    made, named = (node.GetSegmentation().GetSegment(each) for each in (add_segment(node), add_segment(node, "kidney")))
    colored = node.GetSegmentation().GetSegment(add_segment(node, color=(1.0, 0.0, 0.0)))
    replaced = [(each.GetNameAutoGenerated(), each.GetColorAutoGenerated()) for each in (made, named, colored)]
    assert replaced == [(True, True), (False, True), (True, False)]
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    assert all(each.HasTag(tag) for each in (made, named, colored))  # Slicer's own default
