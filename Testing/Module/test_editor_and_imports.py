"""What a real Slicer does by itself: its editor's own table, selectors that are empty for a moment, cursors, keys."""

import PySide6.QtCore as QtCore
import PySide6.QtGui as QtGui
import slicer
from module_scene import ras_of, settle
from mouse import view_of
from PySide6.QtTest import QTest
from slicer_host.event_loop import run_for


def test_a_segment_chosen_in_the_editor_is_the_one_that_is_prompted(blocks):
    bench, editor = blocks.bench, blocks.panel.ui.segmentEditor
    first = bench.state.segment
    node = bench.work.segmentation_node
    second = node.GetSegmentation().AddEmptySegment("", "by the editor")
    editor.setCurrentSegmentID(second)
    run_for(0.05)
    assert second != first
    assert (bench.state.segment, bench.prompter.target.segment) == (second, second)
    assert blocks.panel.input.ui.segmentsTable.selectedSegmentIDs() == (second,)
    bench.update()
    assert editor.currentSegmentID() == second

    blocks.panel.input.ui.segmentsTable.setSelectedSegmentIDs([first])
    run_for(0.05)
    assert (bench.state.segment, editor.currentSegmentID()) == (first, first)


def test_the_editor_edits_what_is_worked_on_whatever_its_selectors_do(blocks):
    bench = blocks.bench
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "another")
    bench.editor_node.SetAndObserveSegmentationNode(other)
    bench.editor_node.SetAndObserveSourceVolumeNode(None)
    run_for(0.05)
    assert bench.editor_node.GetSegmentationNode() is bench.work.segmentation_node
    assert bench.editor_node.GetSourceVolumeNode() is bench.work.volume_node


def test_reading_another_scene_into_this_one_leaves_the_work_open(blocks, tmp_path):
    """The selectors lose their nodes at the end of an import, in Slicer and on the host."""
    bench, selector = blocks.bench, blocks.panel.input.ui.volumeSelector
    told = []
    selector._q.nodeChanged.connect(told.append)
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    work, prompts, segmentations = bench.work, bench.prompter.prompts(), _segmentations()
    assert prompts

    source = slicer.vtkMRMLScene()
    source.AddNewNodeByClass("vtkMRMLTextNode", "from another scene")
    path = tmp_path / "another.mrml"
    source.SetURL(str(path))
    assert source.Commit()
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Import()
    run_for(0.05)

    assert None in told  # the host does as Slicer does
    assert slicer.mrmlScene.GetFirstNodeByName("from another scene") is not None
    assert bench.work is work and bench.prompter.prompts() == prompts
    assert selector.currentNode() is work.volume_node
    assert blocks.panel.input.ui.segmentationSelector.currentNode() is work.segmentation_node
    assert _segmentations() == segmentations


def test_a_tools_cursor_stays_when_the_mouse_moves(blocks):
    panel, view = blocks.panel, view_of(blocks)
    panel.prompt.ui.boxButton.click()
    shown = view.cursor().pixmap().toImage()
    QTest.mouseMove(view, QtCore.QPoint(30, 40))
    assert not shown.isNull() and view.cursor().pixmap().toImage() == shown
    panel.prompt.ui.boxButton.click()
    QTest.mouseMove(view, QtCore.QPoint(50, 60))
    assert view.cursor().pixmap().isNull()

    panel.prompt.ui.boxButton.click()
    effect = QtGui.QCursor(QtCore.Qt.CursorShape.CrossCursor)
    view.setViewCursor(effect)  # Slicer's editor sets an effect's cursor before the module hears of the effect
    view.setDefaultViewCursor(effect)
    panel.ui.segmentEditor.setActiveEffectByName("Paint")
    QTest.mouseMove(view, QtCore.QPoint(30, 40))
    assert panel.toolbelt.current == "" and view.cursor().shape() == effect.shape()


def test_the_draw_effect_keeps_its_keys(blocks):
    shortcuts, editor = blocks.panel.shortcuts, blocks.panel.ui.segmentEditor

    def listened_to():
        return {key for key, shortcut in shortcuts._installed.items() if shortcut.isEnabled()}

    usual = listened_to()
    assert {"A", "X", "P"} <= usual
    editor.setActiveEffectByName("Draw")
    assert listened_to() == usual - {"A", "X"}
    editor.setActiveEffectByName("")
    assert listened_to() == usual


def test_the_offline_folder_can_be_cleared(opened, tmp_path):
    folder = opened.panel.input.ui.modelFolder
    folder.currentPath = str(tmp_path)
    assert opened.bench.preferences.model_folder == tmp_path
    folder.currentPath = ""
    assert opened.bench.preferences.model_folder is None


def _segmentations():
    return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
