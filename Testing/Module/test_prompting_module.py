"""Prompts by mouse in the slice views: what becomes of them in the segmentation, at which place."""

import numpy as np
import pytest
import slicer
from module_scene import BRIGHT, ras_of, settle, two_blocks
from mouse import click, drag, slice_node, view_of

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex


def written(opened, segment_id=None):
    """The segment as an array on the volume's grid, read by Slicer's own function."""
    work = opened.bench.work
    segment_id = segment_id or opened.bench.prompter.segment
    return slicer.util.arrayFromSegmentBinaryLabelmap(work.segmentation_node, segment_id, opened.node)


def expected(k=5, block="large"):
    mask = np.zeros(two_blocks().shape, dtype=bool)
    rows, cols = (slice(10, 30), slice(12, 40)) if block == "large" else (slice(36, 48), slice(46, 58))
    mask[k, rows, cols] = True
    return mask


@pytest.mark.parametrize("fixture", ["blocks", "oblique_blocks"])
def test_a_click_becomes_a_mask_at_its_place(fixture, request):
    opened = request.getfixturevalue(fixture)
    opened.panel.prompt.ui.positiveButton.click()
    view = view_of(opened)
    click(view, ras_of(opened, 5, 20, 25))
    settle(opened)
    assert opened.panel.prompt.messages.text == ""
    assert [p.prompt.positive for p in opened.bench.prompter.prompts()] == [True]
    np.testing.assert_array_equal(opened.bench.prompter.candidates.mask, expected()[5])
    assert written(opened).sum() == 0  # a preview is no edit
    opened.panel.prompt.ui.acceptButton.click()
    np.testing.assert_array_equal(written(opened) > 0, expected())


def test_the_preview_is_painted_where_the_block_is(blocks):
    view = view_of(blocks)
    before = view.picture().astype(int)
    blocks.bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    changed = np.abs(view.picture().astype(int) - before).sum(axis=2) > 12
    inside, outside = view.pixel_of(ras_of(blocks, 5, 14, 16)), view.pixel_of(ras_of(blocks, 5, 42, 52))
    assert changed[inside.y(), inside.x()] and not changed[outside.y(), outside.x()]


def test_a_negative_click_cuts_away(blocks):
    ui = blocks.panel.prompt.ui
    view = view_of(blocks)
    ui.positiveButton.click()
    click(view, ras_of(blocks, 5, 20, 25))
    settle(blocks)
    ui.negativeButton.click()
    assert not ui.positiveButton.checked and ui.negativeButton.checked
    click(view, ras_of(blocks, 5, 26, 36))
    settle(blocks)
    mask = blocks.bench.prompter.candidates.mask
    assert [p.prompt.positive for p in blocks.bench.prompter.prompts()] == [True, False]
    assert mask[20, 25] and not mask[26, 36]


@pytest.mark.parametrize("fixture", ["blocks", "oblique_blocks"])
def test_a_box_by_drag(fixture, request):
    opened = request.getfixturevalue(fixture)
    opened.panel.prompt.ui.boxButton.click()
    drag(view_of(opened), [ras_of(opened, 5, 33, 43), ras_of(opened, 5, 40, 50), ras_of(opened, 5, 51, 61)])
    settle(opened)
    assert opened.panel.prompt.messages.text == ""
    np.testing.assert_array_equal(opened.bench.prompter.candidates.mask, expected(block="small")[5])
    assert opened.panel.prompt.ui.boxButton.checked  # ready for the next one


def test_lasso_and_scribble(blocks):
    ui, view = blocks.panel.prompt.ui, view_of(blocks)
    ui.lassoButton.click()
    corners = [(5, 34, 44), (5, 34, 60), (5, 50, 60), (5, 50, 44), (5, 36, 44)]
    drag(view, [ras_of(blocks, *corner) for corner in corners])
    settle(blocks)
    np.testing.assert_array_equal(blocks.bench.prompter.candidates.mask, expected(block="small")[5])
    ui.clearButton.click()
    ui.scribblePositiveButton.click()
    drag(view, [ras_of(blocks, 5, 14, 15), ras_of(blocks, 5, 18, 25), ras_of(blocks, 5, 22, 35)])
    settle(blocks)
    np.testing.assert_array_equal(blocks.bench.prompter.candidates.mask, expected()[5])


def test_undo_goes_through_the_session_then_through_the_segmentation(blocks):
    ui, prompter = blocks.panel.prompt.ui, blocks.bench.prompter
    prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    ui.acceptButton.click()
    assert written(blocks).sum() == expected().sum() and not prompter.can_undo
    prompter.add_point(ras_of(blocks, 5, 40, 50))
    settle(blocks)
    ui.undoButton.click()  # the second prompt
    assert prompter.prompts() == () and written(blocks).sum() == expected().sum()
    ui.redoButton.click()
    settle(blocks)
    assert len(prompter.prompts()) == 1 and prompter.candidates is not None
    ui.undoButton.click()
    ui.undoButton.click()  # the accepted mask
    assert written(blocks).sum() == 0
    blocks.panel.ui.segmentEditor.redo()
    assert written(blocks).sum() == expected().sum()


def test_points_can_be_dragged_and_deleted(blocks):
    prompter = blocks.bench.prompter
    prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    node = blocks.panel.markers.point_list(True)
    assert node.GetNumberOfControlPoints() == 1
    drag(view_of(blocks), [ras_of(blocks, 5, 20, 25), ras_of(blocks, 5, 30, 40), ras_of(blocks, 5, 42, 52)])
    settle(blocks)
    np.testing.assert_array_equal(prompter.candidates.mask, expected(block="small")[5])
    blocks.panel.markers.point_list(True).RemoveNthControlPoint(0)
    assert prompter.prompts() == ()
    blocks.bench.undo()
    assert node.GetNumberOfControlPoints() == 1


def test_the_second_segment_respects_overwrite_and_masking(blocks):
    bench = blocks.bench
    first = bench.prompter.segment
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    second = bench.add_segment("second")
    editor = bench.editor_node
    editor.SetOverwriteMode(editor.OverwriteNone)
    bench.prompter.add_box([ras_of(blocks, 5, 5, 5), ras_of(blocks, 5, 52, 60)])
    settle(blocks)
    bench.prompter.accept()
    assert (written(blocks, first) > 0).sum() == expected().sum()
    assert (written(blocks, second) > 0)[expected()].all()  # both have the voxels
    editor.SetOverwriteMode(editor.OverwriteAllSegments)
    third = bench.add_segment("third")
    editor.SetSourceVolumeIntensityMask(True)
    editor.SetSourceVolumeIntensityMaskRange(BRIGHT + 1, 3000)
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    blocks.panel.prompt.ui.acceptButton.click()
    assert written(blocks, third).sum() == 0
    assert "masking" in blocks.panel.prompt.messages.text


def test_another_mask_and_a_box_through_slices(blocks):
    ui, bench = blocks.panel.prompt.ui, blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    before = bench.prompter.candidates.mask.sum()
    asked = blocks.clients[0].log.count("predict")
    ui.nextButton.click()
    assert bench.prompter.candidates.mask.sum() > before
    settle(blocks)
    # The other masks are asked for once more, sharp; after that, going round asks no more.
    assert blocks.clients[0].log.count("predict") == asked + 1
    assert bench.prompter.candidates.mask.sum() > before and bench.prompter.candidates.chosen == 1
    ui.nextButton.click()
    ui.nextButton.click()
    settle(blocks)
    assert blocks.clients[0].log.count("predict") == asked + 1 and bench.prompter.candidates.chosen == 1
    ui.clearButton.click()
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    low, high = np.array(ras_of(blocks, 2.6, 8, 10)), np.array(ras_of(blocks, 6.4, 32, 42))
    roi.SetCenter(*((low + high) / 2))
    roi.SetSize(*np.abs(high - low))
    ui.roiSelector.setCurrentNode(roi)
    ui.roiButton.click()
    settle(blocks)
    assert sorted(target.slice.index for target in bench.prompter.pending) == [3, 4, 5, 6]
    ui.acceptButton.click()
    np.testing.assert_array_equal(written(blocks) > 0, np.sum([expected(k) for k in (3, 4, 5, 6)], axis=0) > 0)


def test_a_click_outside_says_so_and_leaves_nothing(blocks):
    blocks.panel.prompt.ui.positiveButton.click()
    click(view_of(blocks), ras_of(blocks, 5, -3, 20))
    assert "outside of the volume" in blocks.panel.prompt.messages.text
    assert blocks.bench.prompter.prompts() == ()
    assert blocks.panel.markers.point_list(True).GetNumberOfDefinedControlPoints() == 0


def test_coronal_and_sagittal_views(blocks):
    for name, axis, index in (("Green", "j", 20), ("Yellow", "i", 25)):
        node = slice_node(blocks, name)
        node.JumpSliceByOffsetting(*ras_of(blocks, 5, 20, 25))
        blocks.panel.prompt.ui.positiveButton.click()
        click(view_of(blocks, name), ras_of(blocks, 5, 20, 25))
        settle(blocks)
        target = blocks.bench.prompter.target
        assert (target.slice.axis, target.slice.index) == (axis, index)
        candidates = blocks.bench.prompter.candidates
        assert candidates.mask.sum() == (8 * 28 if axis == "j" else 8 * 20)
        blocks.bench.prompter.clear()
        blocks.panel.prompt.ui.positiveButton.click()


def test_a_prompt_that_was_not_answered_is_named_and_asked_again_once_it_changes(blocks):
    bench, ui = blocks.bench, blocks.panel.prompt.ui
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.go_to(SliceIndex("k", 7))
    blocks.clients[0].failure = ModelError("The GPU is out of memory: choose the CPU under Input.")
    bench.prompter.add_point(ras_of(blocks, 7, 20, 25))
    settle(blocks)
    assert not bench.prompter.waiting and [t.slice.index for t in bench.prompter.failed_targets] == [7]
    assert "Not answered" in ui.candidateLabel.text
    ui.acceptButton.click()
    assert "axial k = 7 was not answered" in blocks.panel.prompt.messages.text
    assert len(bench.prompter.prompts()) == 2  # nothing is lost
    bench.prompter.add_point(ras_of(blocks, 7, 15, 20))
    settle(blocks)
    assert not bench.prompter.failed_targets
    assert bench.prompter.accept().slices == 2


def test_prompts_of_a_removed_segment_do_not_stand_in_the_way(blocks):
    bench = blocks.bench
    first = bench.prompter.segment
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    second = bench.add_segment("other")
    bench.select_segment(first)
    bench.remove_segment()
    assert bench.prompter.segment == second
    bench.prompter.add_point(ras_of(blocks, 5, 40, 50))
    settle(blocks)
    assert [target.segment for target in bench.prompter.pending] == [second]
    blocks.panel.prompt.ui.acceptButton.click()
    assert blocks.panel.prompt.messages.text == ""
    array = slicer.util.arrayFromSegmentBinaryLabelmap(bench.work.segmentation_node, second, blocks.node)
    assert array.sum() == 12 * 12


def test_the_prompts_of_a_removed_segment_come_back_with_it(blocks):
    bench = blocks.bench
    first = bench.prompter.segment
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.add_segment("other")
    bench.select_segment(first)
    bench.remove_segment()
    assert bench.prompter.pending == ()
    blocks.panel.ui.segmentEditor.undo()
    bench.select_segment(first)
    assert [target.segment for target in bench.prompter.pending] == [first]


def test_an_roi_is_a_box_through_its_slices_and_says_how_many_are_owed(blocks):
    bench, panel = blocks.bench, blocks.panel.prompt
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    panel.ui.roiSelector.setCurrentNode(roi)
    panel.ui.roiButton.click()
    assert "Nothing of R is placed yet" in panel.messages.text
    first, last = np.array(ras_of(blocks, 4, 12, 14)), np.array(ras_of(blocks, 6, 20, 22))
    roi.SetCenterWorld(*((first + last) / 2))
    roi.SetSizeWorld(*np.abs(last - first))
    panel.ui.roiButton.click()
    assert panel.messages.text == "" and bench.prompter.owed == 3
    settle(blocks)
    assert bench.prompter.owed == 0 and bench.prompter.accept().slices == 3


def test_points_of_which_one_lies_outside_leave_nothing(blocks):
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    points.AddControlPoint(*ras_of(blocks, 5, 20, 25))
    points.AddControlPoint(*ras_of(blocks, 5, 20, 250))
    blocks.panel.prompt.run(lambda: blocks.bench.prompter.add_markup(points))
    assert "outside" in blocks.panel.prompt.messages.text and blocks.bench.prompter.prompts() == ()
    points.RemoveNthControlPoint(1)
    points.AddControlPoint(*ras_of(blocks, 5, 12, 15))
    assert len(blocks.bench.prompter.add_markup(points)) == 2
    settle(blocks)
    assert blocks.bench.prompter.candidates.mask.any()


def test_the_cursor_shows_each_tools_polarity_in_all_views(blocks):
    """Green for inside, red for outside, neither for what is neutral; no tool, no cursor of ours."""
    panel = blocks.panel.prompt
    views = [view_of(blocks, name) for name in ("Red", "Green", "Yellow")]
    own = [view.cursor().shape() for view in views]
    for tool, button in panel.tool_buttons.items():
        button.click()
        assert panel.toolbelt.current == tool
        for view in views:
            assert signs_of(view.cursor().pixmap().toImage()) == (tool.endswith("positive"), tool.endswith("negative"))
    panel.tool_buttons["paint_negative"].click()
    assert panel.toolbelt.current == "" and [view.cursor().shape() for view in views] == own
    assert all(view.cursor().pixmap().isNull() for view in views)


def signs_of(image):
    """Whether much of it is green, and whether much of it is red."""
    assert not image.isNull()
    colors = [image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height())]
    seen = [(color.red(), color.green()) for color in colors if color.alpha() > 128]
    return sum(green > red + 60 for red, green in seen) > 50, sum(red > green + 60 for red, green in seen) > 50
