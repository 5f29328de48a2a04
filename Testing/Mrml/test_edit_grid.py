"""The grid on which a segmentation is edited: nothing that is drawn is lost, and masks of the volume neither."""

import numpy as np
import pytest
from mrml_masks import random_mask

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.errors import InputError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import SliceIndex  # noqa: E402
from SAMFinetuneLogic.imaging.geometry import transform_points  # noqa: E402
from SAMFinetuneLogic.mrml import edit_grid  # noqa: E402
from SAMFinetuneLogic.mrml.edit_grid import choose_edit_grid  # noqa: E402
from SAMFinetuneLogic.mrml.editing import SegmentWriter  # noqa: E402
from SAMFinetuneLogic.mrml.segments import (  # noqa: E402
    add_segment,
    add_segmentation,
    edit_matrix,
    labelmap_of,
    segment_mask,
    segmentation_of,
)
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402

SHAPE = (6, 8, 10)
SPACING = np.array([1.0, 1.0, 2.0])


def placed(steps, turn=None, parts=(1, 1, 1)):
    """A grid with its outer corner where that of the volume is; ``parts`` of the volume's voxels if given."""
    matrix = np.eye(4) if turn is None else turn.copy()
    steps = SPACING / parts if steps is None else np.array(steps)
    matrix[:3, :3] = matrix[:3, :3] @ np.diag(steps)
    matrix[:3, 3] += matrix[:3, :3] @ np.array([0.5, 0.5, 0.5])
    return matrix


@pytest.fixture
def volume_node(a_scene, add_volume_node):
    return add_volume_node(a_scene, np.zeros(SHAPE, np.int16), placed(SPACING))


def drawn(scene, add_volume_node, shape, matrix, density=0.3):
    """A segmentation that was made on another volume: its node, segment, that volume and mask."""
    other = add_volume_node(scene, np.zeros(shape, np.uint8), matrix)
    grid = read_volume(other).volume
    node = add_segmentation(scene, other, grid)
    segment = add_segment(node, "by hand")
    mask = random_mask(3, shape, density)
    SegmentWriter(node, other, grid).write_slices({segment: dict(enumerate(mask))}, "k")
    return node, segment, grid, mask


def accept(node, volume_node, index=3):
    """A mask of the volume's slice for another segment, over whatever is there."""
    volume = read_volume(volume_node).volume
    segment = add_segment(node, "by the model")
    writer = SegmentWriter(node, volume_node, volume)
    writer.editor_node.SetOverwriteMode(writer.editor_node.OverwriteNone)
    mask = random_mask(5, SHAPE[1:])
    writer.write_slice(segment, SliceIndex("k", index), mask)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[index] = mask
    np.testing.assert_array_equal(segment_mask(node, segment, volume), expected)


def test_nothing_drawn_takes_the_volumes_grid(a_scene, add_volume_node, volume_node):
    other = add_volume_node(a_scene, np.zeros((9, 9, 9), np.uint8), placed((0.3, 0.3, 0.3)))
    node = add_segmentation(a_scene, other, read_volume(other).volume)
    add_segment(node)
    assert choose_edit_grid(node, volume_node, read_volume(volume_node).volume) is None
    np.testing.assert_allclose(edit_matrix(node), placed(SPACING))
    assert segmentation_of(volume_node) is node


@pytest.mark.parametrize("parts", [(2, 2, 2), (3, 3, 2), (1, 1, 2)])
def test_what_is_drawn_finer_stays_as_it_is(parts, a_scene, add_volume_node, volume_node):
    """As with Slicer's oversampling."""
    shape = tuple(int(n) for n in np.array(SHAPE) * parts[::-1])
    node, segment, grid, mask = drawn(a_scene, add_volume_node, shape, placed(None, parts=parts))
    assert choose_edit_grid(node, volume_node, read_volume(volume_node).volume) is None
    accept(node, volume_node)
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)
    assert segmentation_of(volume_node) is node


def test_a_finer_part_of_the_volume_stays_and_masks_reach_beyond_it(a_scene, add_volume_node, volume_node):
    matrix = placed((0.5, 0.5, 1.0))
    matrix[:3, 3] += [3.0, 2.0, 2.0]
    node, segment, grid, mask = drawn(a_scene, add_volume_node, (5, 6, 7), matrix)
    choose_edit_grid(node, volume_node, read_volume(volume_node).volume)
    accept(node, volume_node, 0)
    accept(node, volume_node, 5)
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)


def test_a_turned_finer_grid_stays(a_scene, add_volume_node, volume_node):
    turn = np.eye(4)
    turn[:3, :3] = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    matrix = placed((0.4, 0.4, 0.4), turn)
    centre = transform_points(matrix, np.array([[10.0, 10.0, 10.0]]))[0]
    matrix[:3, 3] += np.array([5.0, 4.0, 6.0]) - centre
    node, segment, grid, mask = drawn(a_scene, add_volume_node, (20, 20, 20), matrix)
    assert choose_edit_grid(node, volume_node, read_volume(volume_node).volume) is None
    accept(node, volume_node)
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)


def test_a_coarser_one_takes_the_volumes_grid(a_scene, add_volume_node, volume_node):
    node, segment, grid, mask = drawn(a_scene, add_volume_node, (3, 4, 5), placed((2.0, 2.0, 4.0)))
    assert choose_edit_grid(node, volume_node, read_volume(volume_node).volume) is None
    np.testing.assert_allclose(edit_matrix(node), placed(SPACING))
    accept(node, volume_node)
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)


@pytest.mark.parametrize(
    "other",
    [
        np.diag([-1.0, 1.0, -1.0, 1.0]),  # the axes run the other way
        np.array([[1.0, 0, 0, 3], [0, 1, 0, -2], [0, 0, 1, 1], [0, 0, 0, 1]]),  # begins elsewhere
        np.array([[0, 1.0, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]),  # rows are columns
    ],
)
def test_the_same_voxels_numbered_in_another_way(other, a_scene, add_volume_node, volume_node):
    matrix = placed(SPACING) @ other
    corners = transform_points(np.linalg.inv(other), np.array([[0.0, 0, 0], np.array(SHAPE[::-1]) - 1.0]))
    matrix[:3, 3] += matrix[:3, :3] @ corners.min(axis=0)
    shape = tuple(int(n) for n in (np.ptp(corners, axis=0) + 1)[::-1])
    node, segment, grid, mask = drawn(a_scene, add_volume_node, shape, matrix, 0.6)
    assert choose_edit_grid(node, volume_node, read_volume(volume_node).volume) is None
    accept(node, volume_node)
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)


def test_finer_one_way_and_coarser_another_divides_the_volumes_grid(a_scene, add_volume_node, volume_node):
    """Thick slices with fine pixels, such as another series of the patient's."""
    node, segment, grid, mask = drawn(a_scene, add_volume_node, (3, 16, 20), placed((0.5, 0.5, 4.0)))
    notice = choose_edit_grid(node, volume_node, read_volume(volume_node).volume)
    assert "divided 2 x 2 x 1" in notice
    accept(node, volume_node)
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)
    before = edit_matrix(node)
    assert choose_edit_grid(node, volume_node, read_volume(volume_node).volume) is None  # the window is another one
    np.testing.assert_allclose(edit_matrix(node), before)
    accept(node, volume_node, 4)
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)


def test_undo_brings_the_grid_back_too(a_scene, add_volume_node, volume_node):
    node, segment, grid, mask = drawn(a_scene, add_volume_node, (3, 4, 5), placed((2.0, 2.0, 4.0)))
    volume = read_volume(volume_node).volume
    choose_edit_grid(node, volume_node, volume)
    writer = SegmentWriter(node, volume_node, volume)
    before = segment_mask(node, segment, volume)
    assert writer.write_slice(segment, SliceIndex("k", 2), np.ones(SHAPE[1:])).changed == (~before[2]).sum()
    before[2] = True
    np.testing.assert_array_equal(segment_mask(node, segment, volume), before)
    np.testing.assert_allclose(labelmap_of(node, segment).matrix, placed(SPACING))
    writer.undo()
    np.testing.assert_allclose(labelmap_of(node, segment).matrix, placed((2.0, 2.0, 4.0)))
    np.testing.assert_array_equal(segment_mask(node, segment, grid), mask)


def test_a_grid_that_would_be_too_large_is_refused(a_scene, add_volume_node, volume_node, monkeypatch):
    monkeypatch.setattr(edit_grid, "_MOST_VOXELS", 1000)
    node, *_ = drawn(a_scene, add_volume_node, (3, 16, 20), placed((0.5, 0.5, 4.0)))
    with pytest.raises(InputError, match="much finer grid"):
        choose_edit_grid(node, volume_node, read_volume(volume_node).volume)


def test_under_a_transform_the_place_in_the_world_counts(a_scene, add_volume_node, volume_node, add_linear_transform):
    node, *_ = drawn(a_scene, add_volume_node, (12, 16, 20), placed(None, parts=(2, 2, 2)))
    moved = np.eye(4)
    moved[:3, :3] = 2.0 * np.eye(3)  # what was finer is as fine as the volume now
    node.SetAndObserveTransformNodeID(add_linear_transform(a_scene, moved).GetID())
    volume = read_volume(volume_node).volume
    assert choose_edit_grid(node, volume_node, volume) is None
    np.testing.assert_allclose(moved @ edit_matrix(node), placed(SPACING))
