"""A volume that changes while it is open: moved once, moved all the time, other voxels at every moment."""

import numpy as np
import pytest
import slicer
import vtk
from module_scene import BRIGHT, ras_of, settle, two_blocks
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.mrml.segments import edit_matrix, labelmap_of, segment_mask


@pytest.fixture
def openings(blocks, monkeypatch):
    """How often the volume is opened anew."""
    bench, count = blocks.bench, []
    opened = bench._open
    monkeypatch.setattr(bench, "_open", lambda *given: (count.append(1), opened(*given)))
    return count


def shifted(x):
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, x)
    return matrix


def click(blocks, offset):
    """A click into the large block, ``offset`` mm to the side of where it was, accepted: (k, j, i) of the mask."""
    bench = blocks.bench
    x, y, z = ras_of(blocks, 5, 20, 25)
    bench.prompter.add_point((x + offset, y, z), True, "k")
    settle(blocks)
    bench.prompter.accept()
    return segment_mask(bench.work.segmentation_node, bench.prompter.segment, bench.work.volume)


@pytest.mark.parametrize(
    "move",
    [
        lambda node: node.SetOrigin(node.GetOrigin()[0] + 30.0, *node.GetOrigin()[1:]),
        lambda node: node.ApplyTransformMatrix(shifted(30.0)),  # as hardening does
    ],
)
def test_a_volume_with_another_place_of_its_own(blocks, move):
    """As "Center volume" in the Volumes module: no transform has changed."""
    before = blocks.bench.work.volume
    move(blocks.node)
    assert blocks.bench.work.volume.ijk_to_ras[0, 3] == pytest.approx(before.ijk_to_ras[0, 3] + 30)
    mask = click(blocks, 30.0)
    np.testing.assert_array_equal(mask[5], (two_blocks()[5] == BRIGHT) & (np.arange(64) < 42))


def test_other_spacing(blocks):
    blocks.node.SetSpacing(3.0, 1.0, 3.0)
    assert blocks.bench.work.volume.spacing == pytest.approx((3.0, 1.0, 3.0))


def test_a_transform_that_is_dragged_is_followed_at_its_end(blocks, openings):
    bench = blocks.bench
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    blocks.node.SetAndObserveTransformNodeID(transform.GetID())
    openings.clear()
    for x in range(20):
        transform.SetMatrixTransformToParent(shifted(float(x)))
        run_for(0.01)
    assert len(openings) <= 2
    assert run_until(lambda: bench.work.volume.ijk_to_ras[0, 3] == pytest.approx(40.0 + 19.0), 5)
    assert len(openings) <= 3
    run_for(0.4)
    assert len(openings) <= 3


def test_whoever_uses_the_volume_meanwhile_gets_it_as_it_is(blocks, openings):
    bench = blocks.bench
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    bench.work.segmentation_node.SetAndObserveTransformNodeID(None)
    blocks.node.SetAndObserveTransformNodeID(transform.GetID())
    for x in (5.0, 12.0, 30.0):
        transform.SetMatrixTransformToParent(shifted(x))  # one right after the other
    bench.prompter.set_slice(SliceIndex("k", 5))
    mask = click(blocks, 30.0)
    np.testing.assert_array_equal(mask[5], (two_blocks()[5] == BRIGHT) & (np.arange(64) < 42))


def test_a_sequence_that_plays_does_not_stand_still(blocks, openings):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    openings.clear()
    for frame in range(1, 11):
        slicer.util.updateVolumeFromArray(blocks.node, np.roll(two_blocks(), frame, axis=2))
        run_for(0.02)
    assert len(openings) <= 2
    np.testing.assert_array_equal(bench.prompter.work.volume.voxels, np.roll(two_blocks(), 10, axis=2))
    assert len(openings) <= 3 and len(bench.prompter.prompts()) == 1
    settle(blocks)
    assert bench.prompter.candidates.mask.sum() == 20 * 28


def test_a_volume_that_is_removed_right_after_it_moved(blocks):
    for x in (10.0, 20.0, 30.0):
        blocks.node.SetOrigin(x, 0.0, 0.0)
    slicer.mrmlScene.RemoveNode(blocks.node)
    run_for(0.4)
    assert blocks.bench.work is None


def test_volume_and_segmentation_are_put_under_a_transform_one_after_the_other(blocks):
    """In between they lie askew to each other; what is drawn must not be brought onto that grid later."""
    bench = blocks.bench
    click(blocks, 0.0)
    node, segment = bench.work.segmentation_node, bench.prompter.segment
    before, grid = labelmap_of(node, segment), edit_matrix(node)
    assert bench.propagation.annotated() == (5,)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turned = vtk.vtkTransform()
    turned.RotateZ(20.0)
    turned.RotateX(10.0)
    transform.SetMatrixTransformToParent(turned.GetMatrix())
    blocks.node.SetAndObserveTransformNodeID(transform.GetID())
    run_for(0.4)
    assert not np.allclose(edit_matrix(node), grid)
    node.SetAndObserveTransformNodeID(transform.GetID())
    run_for(0.4)
    np.testing.assert_allclose(edit_matrix(node), grid, atol=1e-6)
    assert bench.propagation.annotated() == (5,)
    bench.go_to(SliceIndex("k", 7))
    bench.prompter.add_point(tuple(turned.TransformPoint(ras_of(blocks, 7, 20, 25))), True, "k")
    settle(blocks)
    assert bench.prompter.accept().changed == 20 * 28
    after = labelmap_of(node, segment)
    np.testing.assert_allclose(after.matrix, before.matrix, atol=1e-6)
    np.testing.assert_array_equal(
        segment_mask(node, segment, bench.work.volume)[[5, 7]], two_blocks()[[5, 7]] * (np.arange(64) < 42) == BRIGHT
    )


def test_prompts_that_the_volume_has_moved_away_from_are_said_to_be_gone(blocks):
    bench = blocks.bench
    click(blocks, 0.0)
    bench.propagation.start()
    assert run_until(lambda: not bench.propagation.running, 20)
    queued = len(bench.review.entries)
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    blocks.node.SetOrigin(900.0, 0.0, 0.0)
    assert "moved away from prompts" in blocks.panel.input.messages.text
    assert not bench.prompter.prompts() and len(bench.review.entries) == queued > 0  # the rest is as it was


def test_a_volume_that_moves_while_it_is_being_opened_is_followed_afterwards(blocks):
    bench = blocks.bench
    emit, moved = bench.prompter.changed, []

    def move_once():
        if bench._updating and not moved:
            moved.append(1)
            blocks.node.SetOrigin(77.0, 0.0, 0.0)

    emit.connect(move_once)
    bench.set_window("0/600")
    emit.disconnect(move_once)
    assert moved and run_until(lambda: bench.work.volume.ijk_to_ras[0, 3] == pytest.approx(77.0), 5)
