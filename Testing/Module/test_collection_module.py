"""The few-shot collection in the module: real nodes, the real model process, a small model with random weights."""

import numpy as np
import slicer
from module_fixtures import WAIT
from module_scene import BRIGHT, add_volume, straight_affine, two_blocks
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.mrml.annotated import annotated_slices

GOOD = FitSettings(steps=60, augmentations=0, hold_out_from=99)
QUICK = FitSettings(steps=15, augmentations=0, hold_out_from=99)


def annotate(bench, *slices):
    """Draw the large block as one would by hand, on these slices."""
    segment = bench.prompter.segment
    mask = np.zeros(two_blocks().shape[1:], dtype=bool)
    mask[10:30, 12:40] = True
    for k in slices:
        bench.work.writer.write_slice(segment, SliceIndex("k", k), mask)
    run_for(0.02)


def settled(bench):
    assert run_until(lambda: not bench.collection.long.running, WAIT)
    run_for(0.05)


def learned(bench):
    annotate(bench, 3, 5, 8)
    bench.panel.ui.collectionAddButton.click()
    settled(bench)
    bench.collection.fit(QUICK)
    settled(bench)
    assert bench.panel.messages.text == "" and bench.collection.fitted


def array_of(segmentation, volume_node, name="Segment_1"):
    segment = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume_node) > 0


def shifted(name, rows):
    return add_volume(np.roll(two_blocks(), rows, axis=1), straight_affine(), name)


def tick(bench, *names):
    import qt

    entries = bench.panel.ui.volumeList
    assert run_until(lambda: set(names) <= {entries.item(n).text() for n in range(entries.count)})
    for n in range(entries.count):
        entries.item(n).setCheckState(qt.Qt.Checked if entries.item(n).text() in names else qt.Qt.Unchecked)


def test_slices_are_added_shown_and_removed(bench):
    ui = bench.panel.ui
    assert not ui.collectionFitButton.enabled and "No collection yet" in ui.collectionState.text
    ui.collectionAddButton.click()
    assert "annotated" in bench.panel.messages.text
    annotate(bench, 3, 5)
    ui.collectionAddButton.click()
    assert bench.collection.long.running and ui.collectionCancelButton.enabled
    settled(bench)
    assert bench.panel.messages.text == "" and "Slices: 2. Images: 1. Structures: Segment_1." in ui.collectionState.text
    assert [ui.collectionList.item(n).text() for n in range(ui.collectionList.count)] == ["image 1 k=3", "image 1 k=5"]
    shown = ui.collectionList.item(0).icon().pixmap(80, 80).toImage()
    assert max(shown.width(), shown.height()) == 80
    content = bench.collection.path.read_bytes()
    assert b"blocks" not in content  # the volume's name may be the patient's
    annotate(bench, 8)
    ui.collectionAddButton.click()
    settled(bench)
    assert [entry.slice.index for entry in bench.collection.info.entries] == [3, 5, 8]
    ui.collectionList.item(1).setSelected(True)
    ui.collectionRemoveButton.click()
    settled(bench)
    assert [entry.slice.index for entry in bench.collection.info.entries] == [3, 8]


def test_thumbnails_have_true_proportions_and_the_labels_colours(bench):
    from SAMFinetuneLib.thumbnails import thumbnail_colors

    annotate(bench, 5)
    bench.collection.add_annotated()
    settled(bench)
    info = bench.collection.info
    entry = info.entries[0]
    colors = thumbnail_colors(entry, info.classes, 96)
    assert colors.shape == (56, 96, 3)  # 56 rows of 1 mm, 64 columns of 1.5 mm
    row, col = (int(x) for x in np.argwhere(entry.labels == 1).mean(axis=0))
    inside = colors[row * 56 // entry.labels.shape[0], col * 96 // entry.labels.shape[1]]
    expected = 0.55 * entry.pixels[row, col] + 0.45 * 255 * np.array(info.classes[0].color)
    np.testing.assert_allclose(inside, expected, atol=1)
    outside = colors[(colors.max(axis=2) - colors.min(axis=2)) == 0]
    assert len(outside) > 0.6 * 56 * 96


def test_learning_and_the_open_volume_with_one_undo(bench):
    ui = bench.panel.ui
    assert not ui.applyOpenButton.enabled
    annotate(bench, 3, 5, 8)
    ui.collectionAddButton.click()
    settled(bench)
    bench.collection.fit(GOOD)
    seen = []
    bench.collection.long.changed.connect(lambda: seen.append(bench.collection.long.done))
    settled(bench)
    assert max(seen) > 0 and "Ready to be applied" in ui.collectionState.text
    segmentation = bench.work.segmentation_node
    before = array_of(segmentation, bench.work.volume_node)
    ui.applyOpenButton.click()
    settled(bench)
    assert bench.panel.messages.text == ""
    after = array_of(segmentation, bench.work.volume_node)
    np.testing.assert_array_equal(after[[3, 5, 8]], before[[3, 5, 8]])  # annotated ones stay
    truth = np.zeros(after.shape, dtype=bool)
    truth[2:10, 10:30, 12:40] = True
    filled = [2, 4, 6, 7, 9]
    dice = 2 * (after & truth)[filled].sum() / (after[filled].sum() + truth[filled].sum())
    assert dice > 0.5, dice  # random weights: enough to see that the answer is in its place
    assert annotated_slices(segmentation, bench.prompter.segment, bench.work.volume, "k") == (3, 5, 8)
    said = ui.collectionSummary.text
    assert f"Results in {segmentation.GetName()}." in said
    bench.undo()
    np.testing.assert_array_equal(array_of(segmentation, bench.work.volume_node), before)
    assert f"Taken back in {segmentation.GetName()}." in ui.collectionSummary.text
    assert "Results in" not in ui.collectionSummary.text
    bench.redo()
    np.testing.assert_array_equal(array_of(segmentation, bench.work.volume_node), after)
    assert ui.collectionSummary.text == said


def test_slices_of_the_open_volume_are_reviewed_in_order_of_doubt(bench):
    learned(bench)
    bench.applying.start()
    settled(bench)
    review, ui = bench.review, bench.review_panel.ui
    segment = bench.prompter.segment
    filled = array_of(bench.work.segmentation_node, bench.work.volume_node)
    listed = {entry.slice.index for entry in review.entries}
    assert not listed & {3, 5, 8} and set(np.flatnonzero(filled.any(axis=(1, 2)))) <= listed | {3, 5, 8}
    doubts = [entry.doubt for entry in review.entries]
    assert doubts == sorted(doubts, reverse=True) and doubts[0] > 0
    assert {entry.segment for entry in review.entries} == {segment}
    assert all(entry.distance == min(abs(entry.slice.index - k) for k in (3, 5, 8)) for entry in review.entries)
    assert "own probabilities" in ui.reviewLabel.text and ui.reviewTable.rowCount == len(listed)
    assert not bench.module.ui.reviewSection.collapsed
    ui.reviewNextButton.click()
    assert bench.prompter.slice == review.entries[0].slice
    first = review.entries[0].slice.index
    ui.reviewAcceptButton.click()
    assert first in annotated_slices(bench.work.segmentation_node, segment, bench.work.volume, "k")


def test_a_ticked_volumes_review_waits_for_its_opening(bench):
    learned(bench)
    node = shifted("second", 6)
    bench.applying.start([node])
    settled(bench)
    assert not bench.review.entries
    bench.open(node)
    assert bench.work.segmentation_node is bench.applying.results[0]
    entries = bench.review.entries
    assert entries and all(entry.distance is None for entry in entries)
    assert [entry.doubt for entry in entries] == sorted((entry.doubt for entry in entries), reverse=True)
    assert "own probabilities" in bench.review_panel.ui.reviewLabel.text
    bench.review_panel.ui.reviewNextButton.click()
    assert bench.prompter.slice == entries[0].slice


def test_a_missing_segment_is_added_and_undone_with_the_rest(bench):
    learned(bench)
    node = shifted("second", 6)
    bench.open(node, bench.work.segmentation_node)  # another volume, the segments renamed
    segmentation = bench.work.segmentation_node
    segmentation.GetSegmentation().GetNthSegment(0).SetName("other")
    bench.applying.start()
    settled(bench)
    names = [segmentation.GetSegmentation().GetNthSegment(n).GetName() for n in range(2)]
    assert names == ["other", "Segment_1"]
    bench.undo()
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_ticked_volumes_get_segmentations_named_after_them(bench):
    learned(bench)
    second, third = shifted("second", 6), shifted("third", 12)
    tick(bench, "second", "third")
    bench.panel.ui.applyTickedButton.click()
    settled(bench)
    assert bench.panel.messages.text == ""
    assert [node.GetName() for node in bench.applying.results] == ["second segmentation", "third segmentation"]
    assert "2 of 2" in bench.panel.ui.collectionSummary.text
    for node, segmentation, rows in zip((second, third), bench.applying.results, (6, 12), strict=True):
        found = array_of(segmentation, node)
        truth = np.roll(two_blocks() == BRIGHT, rows, axis=1)
        assert found.any() and (found & truth).sum() > 0.5 * found.sum()
        role = segmentation.GetReferenceImageGeometryReferenceRole()
        assert segmentation.GetNodeReference(role) is node


def test_cancel_keeps_what_is_finished(bench):
    learned(bench)
    shifted("second", 6)
    shifted("third", 12)
    tick(bench, "second", "third")
    bench.panel.ui.applyTickedButton.click()
    assert run_until(lambda: len(bench.applying.results) == 1, WAIT)
    bench.panel.ui.collectionCancelButton.click()
    settled(bench)
    run_for(0.3)
    assert [node.GetName() for node in bench.applying.results] == ["second segmentation"]
    assert "Stopped: 1 of 2" in bench.panel.ui.collectionSummary.text
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert "third segmentation" not in names


def test_cancelled_learning_leaves_the_collection(bench):
    annotate(bench, 3, 5, 8)
    bench.collection.add_annotated()
    settled(bench)
    before = bench.collection.path.read_bytes()
    bench.collection.fit(FitSettings(steps=5000, augmentations=0, hold_out_from=99))
    assert run_until(lambda: bench.collection.long.done > 0, WAIT)
    bench.panel.ui.collectionCancelButton.click()
    assert not bench.collection.long.running
    assert run_until(lambda: not bench.inference.client.busy, WAIT)
    run_for(0.05)
    assert bench.collection.path.read_bytes() == before and not bench.collection.fitted
    assert bench.panel.ui.collectionSummary.text == "Stopped."


def test_export_and_import_keep_what_was_learned(bench, tmp_path):
    import qt

    learned(bench)
    target = tmp_path / "share" / "block"
    target.parent.mkdir()
    qt.QFileDialog.answers.append(str(target))
    bench.panel.ui.collectionExportButton.click()
    written = target.with_name("block.safetensors")
    assert bench.panel.messages.text == "" and written.is_file()
    bench.panel.ui.collectionNewButton.click()
    assert bench.collection.path is None and bench.panel.ui.collectionList.count == 0
    qt.QFileDialog.answers.extend(["", str(written)])
    bench.panel.ui.collectionImportButton.click()  # cancelled
    assert not bench.collection.long.running
    bench.panel.ui.collectionImportButton.click()
    settled(bench)
    assert bench.panel.messages.text == ""
    assert bench.collection.fitted and bench.collection.unlearned == 0 and len(bench.collection.info.entries) == 3
    assert bench.collection.path != written  # the shared file is never changed


def test_a_collection_of_another_model_is_refused_and_can_be_encoded_again(bench, checkpoints, tmp_path):
    learned(bench)
    exported = bench.collection.export_to(tmp_path / "mine.safetensors")
    bench.model_file = checkpoints[1]
    bench.reload_model()
    for button in (bench.panel.ui.applyOpenButton, bench.panel.ui.collectionFitButton):
        button.click()
        settled(bench)
        assert "load that model, or encode the collection again" in bench.panel.messages.text
    bench.panel.ui.collectionNewButton.click()
    bench.collection.import_from(exported)
    settled(bench)
    assert "load that model" in bench.panel.messages.text and bench.collection.path is None
    bench.model_file = checkpoints[0]
    bench.reload_model()
    bench.collection.import_from(exported)
    settled(bench)
    bench.model_file = checkpoints[1]
    bench.reload_model()
    said, bar = set(), bench.panel.ui.collectionBar
    bench.collection.long.changed.connect(
        lambda: said.add((bench.panel.ui.collectionSummary.text, bar.value, bar.maximum, bar.isHidden()))
    )
    bench.panel.ui.collectionEncodeButton.click()
    settled(bench)
    assert ("Encoding slices ... 3 of 3", 3, 3, False) in said
    assert bench.panel.messages.text == "" and "Not learned yet" in bench.panel.ui.collectionState.text
    bench.collection.fit(QUICK)
    settled(bench)
    assert bench.collection.fitted


def test_the_collection_comes_back_with_the_scene(bench, tmp_path):
    learned(bench)
    path = bench.collection.path
    bench.save()
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    from test_scene_life import load_scene, save_scene

    save_scene(tmp_path)
    slicer.mrmlScene.Clear(0)
    assert bench.collection.path is None and bench.panel.ui.collectionList.count == 0
    load_scene(tmp_path)
    assert run_until(lambda: bench.collection.info is not None, WAIT)
    assert bench.collection.path == path and bench.collection.fitted and bench.panel.ui.collectionList.count == 3
    bench.collection.add_annotated()  # the volume is known again
    settled(bench)
    assert {entry.image for entry in bench.collection.info.entries} == {"image 1"}
    slicer.mrmlScene.Clear(0)
    path.unlink()
    load_scene(tmp_path)
    run_for(0.1)
    assert "import it again" in bench.panel.messages.text and bench.work is not None
    assert bench.collection.reference().path == path  # kept for the next save


def test_closing_the_scene_while_a_volume_is_segmented(bench):
    learned(bench)
    bench.applying.start()
    slicer.mrmlScene.Clear(0)
    run_for(0.3)
    assert not bench.collection.long.running and bench.work is None and bench.panel.messages.text == ""
