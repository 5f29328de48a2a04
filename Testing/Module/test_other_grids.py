"""Segmentations that were made elsewhere, volumes that are frames of a sequence, and volumes of a single slice."""

import numpy as np
import slicer
from module_scene import add_volume, ras_of, settle, straight_affine, two_blocks
from slicer_host.event_loop import run_for

from SAMFinetuneLogic.mrml.editing import SegmentWriter
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation, segment_mask
from SAMFinetuneLogic.mrml.volumes import read_volume


def test_what_was_drawn_on_a_finer_grid_loses_nothing(blocks):
    """An oversampled segmentation, or one of another series: Slicer would bring it onto the volume's grid."""
    divided = straight_affine() @ np.diag([0.5, 0.5, 1.0, 1.0])
    divided[:3, 3] -= divided[:3, :3] @ [0.5, 0.5, 0.0]
    k, j, i = two_blocks().shape
    other = add_volume(np.zeros((k, 2 * j, 2 * i), np.uint8), divided, "fine")
    grid = read_volume(other).volume
    node = add_segmentation(slicer.mrmlScene, other, grid, "by hand")
    drawn = add_segment(node, "vessel")
    thin = np.zeros(grid.shape, dtype=bool)
    thin[:, 21, 10:90] = True  # one fine voxel
    SegmentWriter(node, other, grid).write_slices({drawn: dict(enumerate(thin))}, "k")
    bench = blocks.bench
    bench.editor_node.SetOverwriteMode(bench.editor_node.OverwriteNone)
    bench.open(blocks.node, node)
    segment = bench.add_segment("block")
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25), True, "k")
    settle(blocks)
    assert bench.prompter.accept().changed == 4 * 20 * 28
    np.testing.assert_array_equal(segment_mask(node, drawn, grid), thin)
    assert segment_mask(node, segment, bench.work.volume)[5].sum() == 20 * 28
    bench.undo()
    np.testing.assert_array_equal(segment_mask(node, drawn, grid), thin)
    assert not segment_mask(node, segment, bench.work.volume).any()


def sequence_of(frames):
    """A sequence with its browser, and the proxy node of the first frame."""
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "clip")
    sequence.SetIndexName("time")
    for number, voxels in enumerate(frames):
        frame = add_volume(voxels, straight_affine(), f"frame {number}")
        sequence.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    show(browser, 0)
    return browser, browser.GetProxyNode(sequence)


def show(browser, frame):
    browser.SetSelectedItemNumber(frame)
    slicer.app.applicationLogic().GetModuleLogic("Sequences").UpdateAllProxyNodes()


def test_one_segmentation_for_all_frames_is_pointed_out_once(opened):
    browser, proxy = sequence_of([two_blocks(), np.roll(two_blocks(), 4, axis=2), two_blocks()])
    messages = opened.panel.input.messages
    opened.bench.open(proxy)
    assert "the same one for all frames" in messages.text
    messages.close_button.click()
    show(browser, 1)
    run_for(0.05)
    np.testing.assert_array_equal(opened.bench.prompter.work.volume.voxels, np.roll(two_blocks(), 4, axis=2))
    assert messages.text == ""


def test_a_segmentation_that_belongs_to_the_sequence_needs_no_word(opened):
    browser, proxy = sequence_of([two_blocks(), two_blocks()])
    node = add_segmentation(slicer.mrmlScene, proxy, read_volume(proxy).volume, "for each frame")
    add_segment(node)
    masks = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "masks")
    masks.SetIndexName("time")
    for number in range(2):
        masks.SetDataNodeAtValue(node, str(number))
    browser.AddSynchronizedSequenceNodeID(masks.GetID())
    browser.AddProxyNode(node, masks, False)
    opened.bench.open(proxy, node)
    assert opened.panel.input.messages.text == ""


def test_a_volume_of_a_single_slice(opened):
    """Such as an X-ray or a frame of ultrasound: prompts are answered, and nothing is left to fill in."""
    from SAMFinetuneLogic.imaging.axes import SliceIndex

    node = add_volume(two_blocks()[5:6], straight_affine(), "one slice")
    bench, panel = opened.bench, opened.panel
    opened.affine = straight_affine()
    bench.open(node)
    bench.go_to(SliceIndex("k", 0))
    bench.prompter.add_point(ras_of(opened, 0, 20, 25), True, "k")
    settle(opened)
    assert bench.prompter.accept().changed == 20 * 28
    panel.propagate.ui.propagateButton.click()
    assert "nothing to fill in" in panel.propagate.messages.text and not bench.propagation.running
    panel.propagate.ui.allSegments.checked = True
    panel.propagate.ui.propagateButton.click()
    assert "nothing to fill in" in panel.propagate.messages.text and not bench.propagation.running


def test_new_for_the_volume_makes_another_segmentation(blocks):
    bench, selector = blocks.bench, blocks.panel.input.ui.segmentationSelector
    first, segment = bench.work.segmentation_node, bench.prompter.segment
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25), True, "k")
    settle(blocks)
    bench.prompter.accept()
    selector.setCurrentNode(None)
    second = bench.work.segmentation_node
    assert second is not first and second.GetName() != first.GetName() and selector.currentNode() is second
    assert first.GetScene() is not None and segment_mask(first, segment, bench.work.volume).sum() == 20 * 28
    slicer.mrmlScene.RemoveNode(second)  # in the Data module
    run_for(0.05)
    assert bench.work.segmentation_node is first and selector.currentNode() is first
