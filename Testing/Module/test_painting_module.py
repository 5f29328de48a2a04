"""Scribbles painted with the brush: prompts like all others, and nothing of them in the user's segments."""

import numpy as np
import PySide6.QtCore as QtCore
import pytest
import SimpleITK as sitk
import slicer
from module_scene import ras_of, settle, until_exported
from mouse import LEFT, NONE, drag, view_of
from PySide6.QtTest import QTest
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.mrml.segments import segment_ids
from SAMFinetuneLogic.prompting.prompts import ScribblePrompt

STROKE = [(5, 14, 16), (5, 18, 24), (5, 24, 34)]


def paint(opened, button="paintPositiveButton", stroke=STROKE):
    ui = opened.panel.prompt.ui
    if not getattr(ui, button).checked:
        getattr(ui, button).click()
    drag(view_of(opened), [ras_of(opened, *place) for place in stroke])
    settle(opened)


def scratch_nodes():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if "scribble" in node.GetName()]


@pytest.mark.parametrize("fixture", ["blocks", "oblique_blocks"])
def test_a_painted_stroke_prompts_its_slice(fixture, request):
    opened = request.getfixturevalue(fixture)
    paint(opened)
    prompter = opened.bench.prompter
    assert opened.panel.prompt.messages.text == ""
    (placed,) = prompter.prompts()
    assert isinstance(placed.prompt, ScribblePrompt) and placed.prompt.positive
    mask = np.zeros((56, 64), dtype=bool)
    mask[10:30, 12:40] = True
    np.testing.assert_array_equal(prompter.candidates.mask, mask)
    line = opened.bench.work.volume.ras_to_slice(np.array(placed.prompt.points), "k")
    assert np.abs(line[:, 0] - 5).max() < 1e-3 and (line[:, 1].min() < 17) and (line[:, 1].max() > 21)
    assert scratch_nodes() == []


def test_what_is_being_painted_is_seen_and_is_no_segment_of_the_user(blocks):
    opened, view = blocks, view_of(blocks)
    before = view.picture().astype(int)
    opened.panel.prompt.ui.paintPositiveButton.click()
    pixels = [view.pixel_of(ras_of(opened, *place)) for place in STROKE]
    QTest.mousePress(view, LEFT, NONE, pixels[0])
    for pixel in pixels[1:]:
        QTest.mouseMove(view, pixel)
        run_for(0.02)
    changed = np.abs(view.picture().astype(int) - before).sum(axis=2) > 12
    middle = view.pixel_of(ras_of(opened, 5, 18, 24))
    assert changed[middle.y(), middle.x()]
    (node,) = scratch_nodes()
    assert node.GetHideFromEditors() and not node.GetSaveWithScene()
    assert segment_ids(opened.bench.work.segmentation_node) == (opened.bench.prompter.segment,)
    assert opened.panel.input.ui.segmentationSelector.nodeCount() == 1
    QTest.mouseRelease(view, LEFT, NONE, pixels[-1] + QtCore.QPoint(1, 0))
    settle(opened)
    assert scratch_nodes() == [] and len(opened.bench.prompter.prompts()) == 1


def test_undo_redo_and_clear(blocks):
    prompter, ui = blocks.bench.prompter, blocks.panel.prompt.ui
    paint(blocks)
    paint(blocks, "paintNegativeButton", [(5, 26, 36), (5, 28, 38)])
    assert [p.prompt.positive for p in prompter.prompts()] == [True, False]
    assert not prompter.candidates.mask[27, 37]
    ui.undoButton.click()
    settle(blocks)
    assert len(prompter.prompts()) == 1 and prompter.candidates.mask[27, 37]
    ui.redoButton.click()
    settle(blocks)
    assert len(prompter.prompts()) == 2
    ui.clearButton.click()
    assert prompter.prompts() == ()
    ui.undoButton.click()
    settle(blocks)
    assert len(prompter.prompts()) == 2 and prompter.candidates is not None


def test_cursor_and_brush_size(blocks):
    ui, view = blocks.panel.prompt.ui, view_of(blocks)
    images = {}
    for name in ("paintPositiveButton", "paintNegativeButton"):
        getattr(ui, name).click()
        images[name] = view.cursor().pixmap().toImage()
        assert not images[name].isNull()
    assert images["paintPositiveButton"] != images["paintNegativeButton"]
    ui.brushSize.value = 12.0
    assert blocks.bench.preferences.brush_mm == 12.0
    assert all(brush.diameter == 12.0 for brush in blocks.panel.toolbelt._brushes)


def test_painting_outside_says_so(blocks):
    paint(blocks, stroke=[(5, -8, 20), (5, -9, 24)])
    assert "inside of the volume" in blocks.panel.prompt.messages.text
    assert blocks.bench.prompter.prompts() == () and scratch_nodes() == []


def test_putting_the_tool_away_in_the_middle_leaves_nothing(blocks):
    view = view_of(blocks)
    blocks.panel.prompt.ui.paintPositiveButton.click()
    QTest.mousePress(view, LEFT, NONE, view.pixel_of(ras_of(blocks, 5, 14, 16)))
    blocks.panel.toolbelt.take("")
    assert scratch_nodes() == [] and blocks.bench.prompter.prompts() == ()


def test_saved_with_the_scene_and_never_exported(blocks, tmp_path):
    bench = blocks.bench
    paint(blocks)
    bench.prompter.accept()
    paint(blocks, stroke=[(5, 40, 50), (5, 44, 54)])
    points = bench.prompter.prompts()[0].prompt.points
    ui = blocks.panel.export.ui
    ui.exportFolder.currentPath = str(tmp_path)
    ui.exportButton.click()
    until_exported(blocks)
    assert "not accepted yet, on 1 slice" in blocks.panel.export.messages.text
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "segmentation.nii.gz")))
    assert set(np.unique(voxels)) == {0, 1} and voxels.sum() == 20 * 28  # what was accepted alone
    run_for(1.2)
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    assert run_until(lambda: bench.work is not None, 5)
    settle(blocks)
    (placed,) = bench.prompter.prompts()
    np.testing.assert_allclose(placed.prompt.points, points, atol=1e-3)
    assert bench.prompter.candidates is not None
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2  # the user's, and the preview
