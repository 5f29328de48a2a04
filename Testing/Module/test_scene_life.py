"""Saving, reloading, closing, and what goes wrong on the way."""

import numpy as np
import pytest
import slicer
import vtk
from module_scene import add_volume, oblique_affine, open_blocks, ras_of, settle, straight_affine, two_blocks
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.jobs.folder import JobFolder
from SAMFinetuneLogic.mrml.session_record import load_work
from SAMFinetuneLogic.worker.tasks import Notice


def save_scene(folder):
    """As Slicer's "Save": every node's data, then the scene."""
    scene = slicer.mrmlScene
    scene.SetRootDirectory(str(folder))
    scene.StartState(scene.SaveState)
    try:
        for n in range(scene.GetNumberOfNodes()):
            node = scene.GetNthNode(n)
            if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene() and not node.GetHideFromEditors():
                if node.GetStorageNode() is None:
                    node.AddDefaultStorageNode()
                if node.GetStorageNode() is not None:
                    extension = node.GetStorageNode().GetDefaultWriteFileExtension()
                    node.GetStorageNode().SetFileName(str(folder / f"{node.GetName()}.{extension}"))
                    node.GetStorageNode().WriteData(node)
        scene.SetURL(str(folder / "scene.mrml"))
        assert scene.Commit()
    finally:
        scene.EndState(scene.SaveState)


def load_scene(folder):
    scene = slicer.mrmlScene
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Connect()


def save_bundle(folder):
    """As Slicer's "Save as MRB", which announces nothing."""
    run_for(1.2)
    assert slicer.mrmlScene.WriteToMRB(str(folder / "scene.mrb"))


def load_bundle(folder):
    assert slicer.mrmlScene.ReadFromMRB(str(folder / "scene.mrb"), True)


@pytest.mark.parametrize(("save", "load"), [(save_scene, load_scene), (save_bundle, load_bundle)])
def test_the_session_comes_back_with_the_scene(oblique_blocks, tmp_path, save, load):
    bench = oblique_blocks.bench
    first = bench.prompter.segment
    bench.prompter.add_point(ras_of(oblique_blocks, 5, 20, 25))
    settle(oblique_blocks)
    bench.prompter.accept()
    bench.go_to(SliceIndex("k", 7))
    bench.prompter.add_point(ras_of(oblique_blocks, 7, 20, 25))
    bench.prompter.add_point(ras_of(oblique_blocks, 7, 28, 38), positive=False)
    settle(oblique_blocks)
    mask = bench.prompter.candidates.mask.copy()
    save(tmp_path)
    slicer.mrmlScene.Clear(0)
    assert bench.work is None
    load(tmp_path)
    run_for(0.05)
    assert bench.work is not None and bench.prompter.segment == first
    assert [p.prompt.positive for p in bench.prompter.prompts()] == [True, False]
    # Slicer turns the slices of a left-handed volume round when it reads one from a file.
    settle(oblique_blocks)
    assert bench.propagation.annotated() and bench.prompter.slice.axis == "k"
    assert bench.prompter.candidates.mask.sum() == mask.sum()
    np.testing.assert_allclose(
        bench.prompter.prompts()[0].prompt.position, ras_of(oblique_blocks, 7, 20, 25), atol=1e-3
    )
    shown = oblique_blocks.panel.markers.point_list(True)
    assert shown.GetNumberOfDefinedControlPoints() == 1


@pytest.mark.parametrize("left_handed", [False, True])
def test_the_review_comes_back_at_its_places(opened, tmp_path, left_handed):
    """Slicer turns the slices of a left-handed volume round when it reads one from a file."""
    affine = straight_affine() @ np.diag([1.0, 1.0, -1.0 if left_handed else 1.0, 1.0])
    blocks = open_blocks(opened, affine)
    bench, table = blocks.bench, blocks.panel.review.ui.reviewTable
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    blocks.panel.propagate.ui.propagateButton.click()
    assert run_until(lambda: not bench.propagation.running)

    def rows():
        return [[table._q.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]

    def places():
        volume = bench.work.volume
        heights = [(volume.ijk_to_ras @ [0, 0, entry.slice.index, 1])[2] for entry in bench.review.entries]
        following = bench.review.next_slice
        return heights, None if following is None else (volume.ijk_to_ras @ [0, 0, following.index, 1])[2]

    bench.go_to(SliceIndex("k", 2))
    before, there = rows(), places()
    height = (bench.work.volume.ijk_to_ras @ [0, 0, 2, 1])[2]
    first = bench.work.volume.ijk_to_ras[2, 3]
    assert before and before[0][0].startswith("axial k = ") and before[0][1] == "Segment_1"
    save_scene(tmp_path)
    slicer.mrmlScene.Clear(0)
    assert rows() == []
    load_scene(tmp_path)
    run_for(0.05)
    assert (abs(bench.work.volume.ijk_to_ras[2, 3] - first) > 1) == left_handed
    assert [row[1:] for row in rows()] == [row[1:] for row in before]
    assert all(row[0].startswith("axial k = ") for row in rows())
    assert (bench.work.volume.ijk_to_ras @ [0, 0, bench.prompter.slice.index, 1])[2] == pytest.approx(height)
    np.testing.assert_allclose(places()[0], there[0])
    assert places()[1] == pytest.approx(there[1])


def test_closing_the_scene_in_the_middle_of_work(blocks):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    blocks.panel.prompt.ui.positiveButton.click()
    blocks.panel.propagate.ui.propagateButton.click()
    bench_client = blocks.clients[0]
    slicer.mrmlScene.Clear(0)
    run_for(0.2)
    assert bench.work is None and blocks.panel.toolbelt.current == "" and not bench.propagation.running
    node = add_volume(two_blocks(), oblique_affine(), "next")
    blocks.panel.input.ui.volumeSelector.setCurrentNode(node)
    assert bench.work is not None and not bench_client.closed  # the model stays loaded
    blocks.node, blocks.affine = node, oblique_affine()
    bench.go_to(SliceIndex("k", 5))
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    assert bench.prompter.accept().changed == 20 * 28


def test_a_prompt_that_fails_is_explained_and_the_session_goes_on(blocks):
    bench, messages = blocks.bench, blocks.panel.prompt.messages
    blocks.clients[0].failure = ModelError("The GPU is out of memory: choose the CPU under Input.")
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    assert run_until(lambda: "out of memory" in messages.text, 10)
    messages.copy_button.click()
    import qt

    assert "ModelError" in qt.QApplication.clipboard().text()
    bench.prompter.add_point(ras_of(blocks, 5, 15, 20))
    settle(blocks)
    assert bench.prompter.candidates is not None and len(bench.prompter.prompts()) == 2


def test_errors_are_shown_where_they_happen(opened):
    ui = opened.panel.prompt.ui
    assert not ui.positiveButton.enabled and not ui.acceptButton.enabled
    opened.panel.prompt.run(opened.panel.prompt.accept)
    assert "Choose a volume" in opened.panel.prompt.messages.text
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    opened.panel.input.ui.volumeSelector.setCurrentNode(empty)
    assert "has no voxels" in opened.panel.input.messages.text
    assert opened.bench.work is None
    opened.panel.input.ui.volumeSelector.setCurrentNode(add_volume(two_blocks(), straight_affine()))
    assert opened.bench.work is not None


def test_propagation_without_annotations_says_what_to_do(blocks):
    blocks.panel.propagate.ui.propagateButton.click()
    assert "accept a mask" in blocks.panel.propagate.messages.text


def test_a_failing_propagation_leaves_the_segment(blocks):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    blocks.clients[0].failure = ModelError("The process ended: try again.")
    blocks.panel.propagate.ui.propagateButton.click()
    assert run_until(lambda: not bench.propagation.running, 10)
    assert "try again" in blocks.panel.propagate.messages.text
    array = slicer.util.arrayFromSegmentBinaryLabelmap(
        bench.work.segmentation_node, bench.prompter.segment, blocks.node
    )
    assert array.sum() == 20 * 28


def test_a_removed_segment_and_a_removed_volume(blocks):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    first = bench.prompter.segment
    bench.add_segment("other")
    bench.work.segmentation_node.GetSegmentation().RemoveSegment(first)
    run_for(0.02)
    assert bench.work.name(bench.prompter.segment) == "other"
    slicer.mrmlScene.RemoveNode(blocks.node)
    run_for(0.05)
    assert bench.work is None


def test_a_moved_volume_keeps_its_prompts_in_the_world(blocks):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = np.eye(4)
    matrix[0, 3] = 3.0  # two voxels
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    blocks.node.SetAndObserveTransformNodeID(transform.GetID())
    run_for(0.05)
    np.testing.assert_allclose(bench.work.volume.ijk_to_ras[0, 3], blocks.affine[0, 3] + 3.0)
    settle(blocks)
    assert bench.prompter.candidates is not None


def test_prompts_wait_while_another_volume_is_looked_at(blocks):
    bench, selector = blocks.bench, blocks.panel.input.ui.volumeSelector
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    selector.setCurrentNode(add_volume(two_blocks(), oblique_affine(), "other"))  # at once, before any timer
    assert not bench.prompter.prompts() and bench.work.segmentation_node.GetName() == "other segmentation"
    selector.setCurrentNode(blocks.node)
    bench.go_to(SliceIndex("k", 5))
    settle(blocks)
    assert [p.prompt.positive for p in bench.prompter.prompts()] == [True]
    assert bench.prompter.candidates.mask.any()
    assert bench.work.segmentation_node.GetName() == "blocks segmentation"
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert sum("preview" not in node.GetName() for node in nodes) == 2  # one for each volume


def test_hand_edits_count_as_annotated(blocks):
    bench = blocks.bench
    node, segment = bench.work.segmentation_node, bench.prompter.segment
    logic = slicer.vtkSlicerSegmentEditorLogic()  # as the Paint effect does it
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(bench.editor_node)
    brush = slicer.vtkOrientedImageData()
    brush.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(blocks.affine))
    brush.SetExtent(14, 21, 12, 19, 6, 6)
    brush.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    brush.GetPointData().GetScalars().Fill(1)
    logic.ModifySegmentByLabelmap(node, segment, brush, logic.ModificationModeAdd, brush.GetExtent(), False, False)
    run_for(0.4)
    assert bench.propagation.annotated() == (6,)
    assert "6" in blocks.panel.prompt.ui.annotatedLabel.text


def test_try_it_shows_an_answer(opened):
    opened.panel.input.ui.tryButton.click()
    assert opened.panel.input.messages.text == ""
    settle(opened, 60)
    candidates = opened.bench.prompter.candidates
    assert candidates is not None and candidates.mask.any()
    assert opened.bench.work.name(opened.bench.prompter.segment) == "liver"


@pytest.mark.parametrize("window", ["soft_tissue", "0/600"])
def test_another_window_keeps_the_prompts(blocks, window):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    blocks.panel.input.ui.windowSelector.setEditText(window)
    blocks.panel.input.ui.windowSelector._q.lineEdit().editingFinished.emit()  # Enter
    assert blocks.panel.input.messages.text == ""
    assert bench.state.window == window and len(bench.prompter.prompts()) == 1
    settle(blocks)
    assert bench.prompter.candidates is not None


def test_a_wrong_window_is_refused_and_the_right_one_stays(blocks):
    selector = blocks.panel.input.ui.windowSelector
    selector.setEditText("40/-4")
    selector._q.lineEdit().editingFinished.emit()
    assert "above zero" in blocks.panel.input.messages.text
    assert blocks.bench.state.window == "auto" and blocks.bench.work is not None


def test_a_missing_adapter_is_reported_in_the_open_and_stays_known(blocks, tmp_path):
    bench, panel = blocks.bench, blocks.panel
    adapter = tmp_path / "job" / "adapter"
    adapter.mkdir(parents=True)
    bench.learning.adapter = adapter
    bench.save()
    save_scene(tmp_path)
    slicer.mrmlScene.Clear(0)
    bench.learning.adapter = None
    adapter.rmdir()
    panel.ui.learnSection.collapsed = True
    load_scene(tmp_path)
    assert bench.work is not None and bench.learning.adapter is None
    assert "choose one under Learn" in panel.learn.messages.text and not panel.ui.learnSection.collapsed
    bench.save()
    record = load_work(bench.work.volume_node, bench.work.segmentation_node, bench.work.volume)
    assert record.adapters[record.active_adapter].path == adapter
    bench.learning.use(None)  # the user's word
    bench.save()
    record = load_work(bench.work.volume_node, bench.work.segmentation_node, bench.work.volume)
    assert record.active_adapter is None


def test_a_deleted_job_folder_does_not_keep_the_session_from_being_saved(blocks, tmp_path):
    bench = blocks.bench
    bench.learning.adapter, bench.learning.job = tmp_path / "gone" / "adapter", JobFolder(tmp_path / "gone")
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.save()
    record = load_work(bench.work.volume_node, bench.work.segmentation_node, bench.work.volume)
    assert len(record.session["prompts"]) == 1 and record.jobs == ()
    bench.learning.job = None


def test_a_restart_of_the_models_process_is_told_and_its_log_copied(blocks):
    import qt

    client, ui = blocks.clients[0], blocks.panel.input.ui
    client.on_notice(Notice("The model's process ended and was started again.", "details", restarted=True))
    assert "started again" in blocks.panel.input.messages.text
    ui.copyLogButton.click()
    copied = qt.QApplication.clipboard().text()
    assert "started again" in copied and "embed" in copied  # the last is of the client's own log


def test_a_notice_on_the_volume_is_shown_once(opened):
    """Closed by the user, it stays closed, and an error is not hidden behind it."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "two components")
    slicer.util.updateVolumeFromArray(node, np.repeat(two_blocks()[..., None], 2, axis=3))
    messages = opened.panel.input.messages
    opened.bench.open(node)
    assert opened.bench.work.notices and messages.text
    messages.close_button.click()
    opened.bench.go_to(SliceIndex("k", 7))
    opened.bench.changed.emit()
    assert messages.text == ""
