"""What the user does while a result is half written: no half of it may stay, nor come back by redo."""

import numpy as np
import PySide6.QtCore as QtCore
import pytest
import SimpleITK as sitk
import slicer
from module_scene import BRIGHT, accept_clicks, add_volume, ras_of, straight_affine, until_exported
from PySide6.QtTest import QTest
from slicer_host.event_loop import process_events, run_for, run_until
from test_collection_module import array_of as array_of_node
from test_collection_module import learned, settled
from test_volume_work import array_of

from SAMFinetuneLogic.imaging.axes import SliceIndex

COUNT = 60
DRAWN = (5, 50)


def tall() -> np.ndarray:
    voxels = np.full((COUNT, 56, 64), -500, dtype=np.int16)
    voxels[5:51, 10:30, 12:40] = BRIGHT
    return voxels


@pytest.fixture
def tower(opened):
    """A volume of many slices; the block is accepted on the first and the last slice that it reaches.

    Beyond these the slices are confirmed to be empty.
    """
    opened.node, opened.affine = add_volume(tall(), straight_affine(), "tower"), straight_affine()
    opened.panel.input.ui.volumeSelector.setCurrentNode(opened.node)
    assert run_until(lambda: opened.bench.inference.info is not None)
    for k in (DRAWN[0] - 1, DRAWN[1] + 1):
        opened.bench.go_to(SliceIndex("k", k))
        opened.bench.prompter.mark_done()
    accept_clicks(opened, DRAWN)
    return opened


def block(opened):
    return array_of(opened, opened.bench.prompter.segment)


def until_half_written(opened):
    bench = opened.bench
    while not (bench.writing.running and bench.propagation.done):
        process_events(wait=True)
    filled = block(opened).any(axis=(1, 2)).sum()
    assert len(DRAWN) < filled < 46, filled


def until_written(opened):
    assert run_until(lambda: not opened.bench.writing.running)
    assert not opened.bench.propagation.running
    run_for(0.02)


def propagate_half(opened):
    opened.panel.propagate.ui.propagateButton.click()
    until_half_written(opened)


def test_undo_takes_all_of_it_back_and_redo_brings_all_of_it(tower):
    bench, before = tower.bench, block(tower)
    propagate_half(tower)
    panel = tower.panel.widget._q
    panel.window().activateWindow()
    panel.setFocus()
    for _ in range(2):  # an impatient user
        QTest.keyClick(panel, QtCore.Qt.Key.Key_Z, QtCore.Qt.KeyboardModifier.ControlModifier)
    until_written(tower)
    np.testing.assert_array_equal(block(tower), before)
    assert "Taken back" in tower.panel.propagate.ui.estimateLabel.text and not bench.review.entries
    bench.redo()
    whole = block(tower)
    np.testing.assert_array_equal(whole, tall() == BRIGHT)
    bench.undo()
    bench.undo()  # the second accepted mask
    assert set(np.flatnonzero(block(tower).any(axis=(1, 2)))) == {DRAWN[0]}
    assert tower.panel.prompt.messages.text == ""


def test_cancel_leaves_nothing_and_keeps_earlier_steps_of_undo(tower):
    before = block(tower)
    propagate_half(tower)
    tower.panel.propagate.ui.propagateCancelButton.click()
    until_written(tower)
    np.testing.assert_array_equal(block(tower), before)
    tower.bench.undo()
    assert set(np.flatnonzero(block(tower).any(axis=(1, 2)))) == {DRAWN[0]}


def test_accept_waits_for_the_rest_and_is_a_step_of_its_own(tower):
    bench = tower.bench
    tower.panel.propagate.ui.propagateButton.click()
    bench.go_to(SliceIndex("k", 30))
    bench.prompter.add_box([ras_of(tower, 30, 12, 14), ras_of(tower, 30, 20, 22)])
    while not (bench.writing.running and bench.propagation.done):
        process_events(wait=True)
    assert bench.prompter.candidates is not None
    bench.prompter.accept()
    assert not bench.writing.running and not bench.propagation.running
    small = np.zeros((56, 64), dtype=bool)
    small[12:21, 14:23] = True
    np.testing.assert_array_equal(block(tower)[30], small)
    bench.undo()
    np.testing.assert_array_equal(block(tower), tall() == BRIGHT)
    bench.undo()
    assert set(np.flatnonzero(block(tower).any(axis=(1, 2)))) == set(DRAWN)


def test_what_is_accepted_while_the_model_is_at_work_stays(tower):
    bench = tower.bench
    bench.go_to(SliceIndex("k", 30))
    bench.add_segment("other")
    bench.select_segment(bench.work.segmentation_node.GetSegmentation().GetNthSegmentID(0))
    tower.panel.propagate.ui.propagateButton.click()
    small, row = np.zeros((56, 64), dtype=bool), np.zeros((56, 64), dtype=bool)
    small[12:21, 14:23], row[10:12, 12:40] = True, True
    first = bench.prompter.segment
    other = bench.work.segmentation_node.GetSegmentation().GetNthSegmentID(1)
    bench.work.writer.write_slice(first, SliceIndex("k", 30), small)
    bench.work.writer.write_slice(other, SliceIndex("k", 31), row)
    assert bench.propagation.running and not bench.writing.running
    assert run_until(lambda: not bench.propagation.running)
    np.testing.assert_array_equal(array_of(tower, first)[30], small)
    np.testing.assert_array_equal(array_of(tower, other)[31], row)
    np.testing.assert_array_equal(array_of(tower, first)[31], (tall()[31] == BRIGHT) & ~row)
    assert 30 in bench.propagation.annotated()


def test_export_and_save_in_between_hold_the_whole_result(tower, tmp_path):
    ui = tower.panel.export.ui
    ui.exportFolder.currentPath = str(tmp_path)
    propagate_half(tower)
    ui.exportButton.click()
    until_exported(tower)
    assert tower.panel.export.messages.text == ""
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "segmentation.nii.gz")))
    np.testing.assert_array_equal(voxels > 0, tall() == BRIGHT)
    until_written(tower)


def test_the_editor_waits_meanwhile_and_gets_its_effect_back(tower):
    editor, node = tower.panel.ui.segmentEditor, tower.bench.editor_node
    editor.setActiveEffectByName("Paint")
    propagate_half(tower)
    assert not editor.enabled and not node.GetActiveEffectName()
    until_written(tower)
    assert editor.enabled and node.GetActiveEffectName() == "Paint"


def test_closing_the_scene_in_the_middle_of_writing(tower):
    propagate_half(tower)
    slicer.mrmlScene.Clear(0)
    run_for(0.1)
    assert not tower.bench.writing.running and not tower.bench.propagation.running
    assert tower.panel.propagate.messages.text == "" and tower.panel.ui.segmentEditor.enabled


def test_another_volume_in_the_middle_of_writing(tower):
    node, segmentation = tower.node, tower.bench.work.segmentation_node
    propagate_half(tower)
    tower.panel.input.ui.volumeSelector.setCurrentNode(add_volume(tall(), straight_affine(), "second"))
    assert not tower.bench.writing.running
    np.testing.assert_array_equal(array_of_node(segmentation, node), tall() == BRIGHT)


def test_a_collections_result_is_taken_back_whole(bench):
    learned(bench)
    segmentation, node = bench.work.segmentation_node, bench.work.volume_node
    segmentation.GetSegmentation().GetNthSegment(0).SetName("other")
    bench.applying.start()
    while not bench.writing.running:
        process_events(wait=True)
    bench.undo()
    settled(bench)
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert "Taken back" in bench.panel.ui.collectionSummary.text
    bench.redo()
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert array_of_node(segmentation, node).any()


def test_a_slice_confirmed_meanwhile_is_confirmed_as_it_comes_to_be(tower):
    bench = tower.bench
    bench.go_to(SliceIndex("k", 40))
    propagate_half(tower)
    tower.panel.prompt.ui.doneButton.click()
    until_written(tower)
    np.testing.assert_array_equal(block(tower), tall() == BRIGHT)
    assert 40 in bench.propagation.annotated()
