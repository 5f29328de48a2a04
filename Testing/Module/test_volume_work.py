"""From annotated slices to the volume, the review, and the files."""

import json

import numpy as np
import PySide6.QtCore as QtCore
import pytest
import SimpleITK as sitk
import slicer
from module_scene import ras_of, settle, two_blocks, until_exported
from mouse import slice_node, view_of
from PySide6.QtTest import QTest
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.imaging.axes import SliceIndex


def array_of(opened, segment_id):
    node = opened.bench.work.segmentation_node
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, opened.node) > 0


def large_block():
    mask = np.zeros(two_blocks().shape, dtype=bool)
    mask[2:10, 10:30, 12:40] = True
    return mask


@pytest.fixture
def propagated(blocks):
    """Two slices accepted, the ends confirmed as empty, the rest filled in."""
    bench = blocks.bench
    for k in (3, 8):
        bench.go_to(SliceIndex("k", k))
        bench.prompter.add_point(ras_of(blocks, k, 20, 25))
        settle(blocks)
        bench.prompter.accept()
    for k in (1, 10):
        bench.go_to(SliceIndex("k", k))
        blocks.panel.prompt.ui.doneButton.click()
    assert bench.propagation.annotated() == (1, 3, 8, 10)
    blocks.panel.propagate.ui.propagateButton.click()
    assert bench.propagation.running and blocks.panel.propagate.ui.propagateCancelButton.enabled
    assert run_until(lambda: not bench.propagation.running, 60)
    assert blocks.panel.propagate.messages.text == ""
    return blocks


def test_propagation_fills_in_and_is_one_step_of_undo(propagated):
    bench = propagated.bench
    segment = bench.prompter.segment
    filled = array_of(propagated, segment)
    np.testing.assert_array_equal(filled[3:9], large_block()[3:9])
    assert not filled[[0, 1, 10, 11]].any()
    assert "Filled in" in propagated.panel.propagate.ui.estimateLabel.text
    assert bench.propagation.annotated() == (1, 3, 8, 10)  # what was filled in is not annotated
    bench.undo()
    assert array_of(propagated, segment).sum() == 2 * 20 * 28


def test_the_chosen_method_is_what_the_model_is_asked_for(propagated):
    bench, ui = propagated.bench, propagated.panel.propagate.ui
    chosen = []
    for row in range(ui.methodSelector.count):
        ui.methodSelector.setCurrentIndex(row)
        ui.propagateButton.click()
        assert run_until(lambda: not bench.propagation.running, 60)
        options = propagated.clients[-1].propagations[-1]
        chosen.append((options.method, options.adapt))
    assert chosen == [("auto", True), ("auto", False), ("interpolate", True), ("propagate", True), ("fewshot", True)]


def test_all_segments_are_filled_in_each_from_its_own_slices(blocks):
    bench, ui = blocks.bench, blocks.panel.propagate.ui
    first = bench.prompter.segment
    second = bench.add_segment("small block")
    for segment, row, col, slices in ((first, 20, 25, (3, 8)), (second, 40, 50, (2, 5, 9))):
        bench.select_segment(segment)
        for k in slices:
            bench.go_to(SliceIndex("k", k))
            bench.prompter.add_point(ras_of(blocks, k, row, col))
            settle(blocks)
            bench.prompter.accept()
    ui.allSegments.checked = True
    assert "Segment_1 2, small block 3" in ui.propagateState.text
    ui.propagateButton.click()
    assert run_until(lambda: not bench.propagation.running, 60)
    assert blocks.panel.propagate.messages.text == ""
    np.testing.assert_array_equal(array_of(blocks, first)[3:9], large_block()[3:9])
    small = array_of(blocks, second)
    assert small[2:10, 36:48, 46:58].all() and not small[:, :36].any()
    assert {entry.segment for entry in bench.review.entries} == {first, second}
    assert "Segment_1" in ui.estimateLabel.text and "small block" in ui.estimateLabel.text
    bench.undo()
    assert array_of(blocks, first).sum() == 2 * 20 * 28 and array_of(blocks, second).sum() == 3 * 12 * 12


def test_review_jumps_and_accepts(propagated):
    bench, ui = propagated.bench, propagated.panel.review.ui
    entries = bench.review.entries
    assert entries and ui.reviewTable.rowCount == len(entries)
    ui.reviewNextButton.click()
    shown = entries[0].slice
    assert bench.prompter.slice == shown and bench.review.place == 0
    node = slice_node(propagated)
    from SAMFinetuneLogic.mrml.slice_views import slice_in_view

    assert slice_in_view(bench.work.volume, node).slice == shown
    ui.reviewAcceptButton.click()
    assert shown.index in bench.propagation.annotated()
    assert len(bench.review.entries) == len(entries) - 1
    if bench.review.next_slice is not None:
        ui.annotateButton.click()
        assert bench.prompter.slice == bench.review.next_slice


def test_the_review_by_keys(propagated):
    bench, ui, panel = propagated.bench, propagated.panel.review.ui, propagated.panel.widget._q
    entries, shift = bench.review.entries, QtCore.Qt.KeyboardModifier.ShiftModifier
    assert "(Shift+N)" in ui.reviewNextButton.text and "(Shift+D)" in ui.reviewAcceptButton.text
    panel.window().activateWindow()
    panel.setFocus()
    for key, place in (("N", 0), ("N", 1), ("B", 0)):
        QTest.keyClick(panel, getattr(QtCore.Qt.Key, f"Key_{key}"), shift)
        assert bench.review.place == place and bench.prompter.slice == entries[place].slice
    QTest.keyClick(panel, QtCore.Qt.Key.Key_D, shift)
    assert bench.review.entries == entries[1:] and bench.prompter.slice == entries[1].slice
    assert propagated.panel.review.messages.text == ""


def test_a_corrected_slice_leaves_the_review_and_next_goes_on_from_there(propagated):
    bench, ui = propagated.bench, propagated.panel.review.ui
    entries = bench.review.entries
    ui.reviewNextButton.click()
    ui.reviewNextButton.click()
    k = entries[1].slice.index
    bench.prompter.add_point(ras_of(propagated, k, 20, 25))
    bench.prompter.add_point(ras_of(propagated, k, 40, 50))
    settle(propagated)
    bench.prompter.accept()
    assert bench.review.entries == entries[:1] + entries[2:] and ui.reviewTable.rowCount == len(entries) - 1
    ui.reviewNextButton.click()
    assert bench.prompter.slice == entries[2].slice
    bench.undo()  # of the correction: it is in doubt again
    assert bench.review.entries == entries and bench.review.entries[bench.review.place] == entries[2]


def test_a_result_that_was_taken_back_is_not_reviewed(propagated):
    bench = propagated.bench
    entries = bench.review.entries
    bench.go_to(SliceIndex("k", 11))
    bench.prompter.mark_done()  # a mark, between the result and its undo
    assert bench.review.entries == entries
    bench.undo()
    assert array_of(propagated, bench.prompter.segment).sum() == 2 * 20 * 28
    assert bench.review.entries == () and "Nothing to review" in propagated.panel.review.ui.reviewLabel.text
    bench.redo()
    assert [entry.slice for entry in bench.review.entries] == [entry.slice for entry in entries]


def test_review_selects_the_segment_that_is_in_doubt(propagated):
    bench = propagated.bench
    first = bench.prompter.segment
    bench.add_segment("other")
    propagated.panel.review.ui.reviewNextButton.click()
    assert bench.prompter.segment == first == bench.review.entries[0].segment
    assert propagated.panel.input.ui.segmentsTable.selectedSegmentIDs() == (first,)


def test_cancel_writes_nothing(blocks):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    before = array_of(blocks, bench.prompter.segment)
    blocks.panel.propagate.ui.propagateButton.click()
    blocks.panel.propagate.ui.propagateCancelButton.click()
    assert not bench.propagation.running
    run_for(0.2)
    np.testing.assert_array_equal(array_of(blocks, bench.prompter.segment), before)


def test_export_as_simpleitk_reads_it(propagated, tmp_path):
    bench, ui = propagated.bench, propagated.panel.export.ui
    second = bench.add_segment("small block")
    bench.go_to(SliceIndex("k", 5))
    bench.prompter.add_point(ras_of(propagated, 5, 40, 50))
    settle(propagated)
    bench.prompter.accept()
    ui.exportFolder.currentPath = str(tmp_path)
    ui.exportName.text = "case"
    ui.exportButton.click()
    until_exported(propagated)
    assert propagated.panel.export.messages.text == "" and "case.nii.gz" in ui.exportResult.text
    image = sitk.ReadImage(str(tmp_path / "case.nii.gz"))
    voxels = sitk.GetArrayFromImage(image)
    first = bench.work.segmentation_node.GetSegmentation().GetNthSegmentID(0)
    np.testing.assert_array_equal(voxels == 1, array_of(propagated, first))
    np.testing.assert_array_equal(voxels == 2, array_of(propagated, second))
    ras = np.array(image.TransformContinuousIndexToPhysicalPoint((50.0, 40.0, 5.0))) * (-1, -1, 1)
    np.testing.assert_allclose(ras, ras_of(propagated, 5, 40, 50), atol=1e-4)
    sidecar = json.loads((tmp_path / "case.json").read_text())
    assert [segment["name"] for segment in sidecar["segments"]] == ["Segment_1", "small block"]
    assert "blocks" not in json.dumps(sidecar["provenance"])  # the volume's name may be the patient's
    ui.exportButton.click()
    assert "exists already" in propagated.panel.export.messages.text


@pytest.mark.parametrize("kind", ["nifti_files", "seg_nrrd"])
def test_other_formats(propagated, tmp_path, kind):
    ui = propagated.panel.export.ui
    ui.exportFolder.currentPath = str(tmp_path)
    ui.formatSelector.setCurrentIndex(ui.formatSelector.findData(kind))
    ui.exportButton.click()
    until_exported(propagated)
    assert propagated.panel.export.messages.text == ""
    name = "segmentation.seg.nrrd" if kind == "seg_nrrd" else "segmentation_Segment_1.nii.gz"
    image = sitk.ReadImage(str(tmp_path / name))
    voxels = sitk.GetArrayFromImage(image)
    assert (voxels > 0).sum() == array_of(propagated, propagated.bench.prompter.segment).sum()


def test_another_window_leaves_what_is_said_of_the_result(propagated):
    """The result is there all the same, and so is its undo; of another image nothing is said."""
    bench, label = propagated.bench, propagated.panel.propagate.ui.estimateLabel
    said = label.text
    bench.set_window("0/600")
    assert label.text == said.strip() != "" and bench.review.entries
    bench.undo()
    assert label.text == ""
    bench.redo()
    bench.set_window("soft_tissue")
    assert label.text == said
    propagated.node.SetSpacing(1.0, 1.0, 1.0)
    slicer.util.updateVolumeFromArray(propagated.node, slicer.util.arrayFromVolume(propagated.node) // 2)
    run_for(0.05)
    assert label.text == ""


def test_an_undone_propagation_is_claimed_no_longer(propagated):
    bench, ui, review = propagated.bench, propagated.panel.propagate.ui, propagated.panel.review.ui
    said, following = ui.estimateLabel.text, bench.review.next_slice
    assert said.startswith("Filled in") and following is not None and not review.annotateRow.isHidden()
    bench.go_to(SliceIndex("k", 5))
    bench.prompter.add_box([ras_of(propagated, 5, 12, 14), ras_of(propagated, 5, 20, 22)])
    settle(propagated)
    bench.prompter.accept()
    assert ui.estimateLabel.text == said  # corrected, and there
    bench.undo()
    assert ui.estimateLabel.text == said
    bench.undo()
    assert ui.estimateLabel.text == "" and bench.propagation.summary == ""
    assert bench.review.next_slice is None and review.annotateRow.isHidden()
    bench.redo()
    assert ui.estimateLabel.text == said and bench.review.next_slice == following


def test_the_editors_own_undo_is_noticed_too(propagated):
    label = propagated.panel.propagate.ui.estimateLabel
    run_for(1.5)  # nothing else is to come
    assert label.text
    propagated.panel.ui.segmentEditor.undo()
    assert run_until(lambda: label.text == "")
    propagated.panel.ui.segmentEditor.redo()
    assert run_until(lambda: label.text.startswith("Filled in"))


def test_a_removed_segment_is_claimed_no_longer(propagated):
    bench, ui = propagated.bench, propagated.panel.propagate.ui
    bench.add_segment("other")
    bench.select_segment(bench.review.entries[0].segment)
    propagated.panel.input.ui.removeSegmentButton.click()
    assert run_until(lambda: ui.estimateLabel.text == "")
    assert bench.review.entries == () and bench.review.next_slice is None
    bench.undo()
    assert ui.estimateLabel.text.startswith("Filled in") and bench.review.entries


def test_a_slice_that_is_right_takes_its_preview_with_it(propagated):
    bench, ui = propagated.bench, propagated.panel.review.ui
    ui.reviewNextButton.click()
    entry = bench.review.entries[0]
    segment = bench.add_segment("other")
    bench.select_segment(entry.segment)
    k = entry.slice.index
    bench.prompter.add_box([ras_of(propagated, k, 12, 14), ras_of(propagated, k, 20, 22)])
    settle(propagated)
    bench.select_segment(segment)  # whatever is selected meanwhile
    ui.reviewAcceptButton.click()
    assert propagated.panel.review.messages.text == "" and not bench.prompter.pending
    small = np.zeros((56, 64), dtype=bool)
    small[12:21, 14:23] = True
    np.testing.assert_array_equal(array_of(propagated, entry.segment)[k], small)
    assert entry not in bench.review.entries
    bench.select_segment(entry.segment)
    assert k in bench.propagation.annotated()


def test_export_says_what_one_label_map_cannot_hold(propagated, tmp_path):
    bench, panel = propagated.bench, propagated.panel.export
    first, second = bench.prompter.segment, bench.add_segment("inside")
    bench.editor_node.SetOverwriteMode(bench.editor_node.OverwriteNone)
    mask = np.zeros((56, 64), dtype=bool)
    mask[12:21, 14:23] = True
    bench.work.writer.write_slice(second, SliceIndex("k", 5), mask)
    assert array_of(propagated, first)[5][mask].all()
    panel.ui.exportFolder.currentPath = str(tmp_path)
    panel.ui.exportButton.click()
    until_exported(propagated)
    assert "81 voxels belong to several segments" in panel.messages.text and "Written" in panel.ui.exportResult.text
    panel.ui.exportName.text = "each"
    panel.ui.formatSelector.setCurrentIndex(panel.ui.formatSelector.findData("nifti_files"))
    panel.ui.exportButton.click()
    until_exported(propagated)
    assert panel.messages.text == ""
    each = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "each_Segment_1.nii.gz")))
    assert each[5][mask].all()


def test_another_name_and_colour_are_shown_everywhere(propagated):
    """As in the table of segments, or anywhere else in Slicer."""
    bench, panel, view = propagated.bench, propagated.panel, view_of(propagated)
    bench.go_to(SliceIndex("k", 5))
    bench.prompter.add_point(ras_of(propagated, 5, 40, 50))
    settle(propagated)
    segment = bench.work.segmentation_node.GetSegmentation().GetSegment(bench.prompter.segment)
    segment.SetName("left kidney")
    segment.SetColor(0.0, 0.0, 1.0)
    run_for(0.4)
    assert panel.prompt.ui.sliceState.text.startswith("left kidney")
    assert panel.propagate.ui.propagateState.text.startswith("left kidney")
    rows = panel.review.ui.reviewTable.rowCount
    assert rows and {panel.review.ui.reviewTable._q.item(row, 1).text() for row in range(rows)} == {"left kidney"}
    inside = view.pixel_of(ras_of(propagated, 5, 42, 52))
    red, _, blue = view.picture()[inside.y(), inside.x()].astype(int)
    assert blue > red + 30  # of the preview


def test_a_cancelled_run_does_not_end_the_next_one(blocks):
    """The model says of a cancelled run that it has stopped when another one is at work."""
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    ui = blocks.panel.propagate.ui
    ui.propagateButton.click()
    ui.propagateCancelButton.click()
    ui.propagateButton.click()
    assert run_until(lambda: not bench.propagation.running, 60)
    assert bench.propagation.summary and blocks.panel.propagate.messages.text == ""
    assert array_of(blocks, bench.prompter.segment)[4].any()
