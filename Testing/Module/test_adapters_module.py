"""Adapters on several volumes: those for prompts stay in use, those without segment the ticked volumes."""

import numpy as np
import pytest
import slicer
from module_fixtures import WAIT
from module_scene import add_volume, straight_affine, two_blocks
from slicer_host.event_loop import run_for, run_until
from small_adapters import save_random_adapter
from test_collection_module import annotate, settled, shifted, tick

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.adapter_files import load_adapter, read_adapter
from SAMFinetuneLogic.finetuning.predicting import predict_volume
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.jobs.folder import FINETUNE, JobDescription, JobFolder, Status
from SAMFinetuneLogic.jobs.registry import remember
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.mrml.session_record import load_work
from SAMFinetuneLogic.mrml.volumes import read_volume

CLASSES = (Segment(1, "large", (0.0, 0.6, 0.4)), Segment(2, "rest", (0.9, 0.6, 0.0)))


@pytest.fixture
def job(bench, tmp_path):
    """Makes the folder of a job that is done, with an adapter whose answers are arbitrary."""

    def make(mode, name="job"):
        folder = JobFolder(tmp_path / name)
        folder.write_description(
            JobDescription(FINETUNE, "samfinetune_default", "", "cpu", 1, {"mode": mode}, [], "2026-01-01T00:00:00")
        )
        folder.write_status(Status("done", verdict="accepted"))
        remember(folder)
        save_random_adapter(bench.model_file, folder.adapter, mode, CLASSES, Window(-150.0, 700.0, "custom"))
        bench.learning.changed.emit()
        return folder

    return make


def labels_of(segmentation, node):
    """(k, j, i) values of CLASSES, by the segments' names."""
    found = np.zeros(two_blocks().shape, dtype=np.uint8)
    for segment in CLASSES:
        segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(segment.name)
        found[slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, node) > 0] = segment.value
    return found


def ask_in_the_middle(bench):
    """The model's answer to a click on the large block."""
    bench.go_to(SliceIndex("k", 5))
    bench.prompter.add_point(tuple((straight_affine() @ np.array([25, 20, 5, 1.0]))[:3]))
    assert run_until(lambda: not bench.prompter.waiting, WAIT)
    answer = bench.prompter.candidates.logits
    bench.prompter.clear()
    return answer


def test_an_automatic_adapter_segments_the_ticked_volumes(bench, job):
    ui = bench.panel.ui
    assert ui.applySelector.count == 1 and not ui.applyTickedButton.enabled
    made = job("automatic")
    assert ui.applySelector.count == 2 and "accepted" in ui.applySelector.itemText(1)
    ui.applySelector.setCurrentIndex(1)
    assert ui.applyTickedButton.enabled and ui.applyOpenButton.enabled
    second, third = shifted("second", 6), shifted("third", 12)
    tick(bench, "second", "third")
    ui.applyTickedButton.click()
    settled(bench)
    assert bench.panel.messages.text == "" and "2 of 2" in ui.collectionSummary.text
    assert [node.GetName() for node in bench.applying.results] == ["second segmentation", "third segmentation"]
    base, info = load_model(str(bench.model_file), "cpu"), read_adapter(made.adapter)
    bench.open(second)
    assert bench.work.segmentation_node is bench.applying.results[0]
    doubts = [entry.doubt for entry in bench.review.entries]
    assert doubts and doubts == sorted(doubts, reverse=True)
    for node, segmentation in zip((second, third), bench.applying.results, strict=True):
        expected = predict_volume(load_adapter(base, made.adapter), info, base, read_volume(node).volume)
        np.testing.assert_array_equal(labels_of(segmentation, node), expected.labels.voxels)
        assert len(np.unique(expected.labels.voxels)) == 3
    with pytest.raises(InputError, match="takes no prompts"):
        bench.learning.use(made)


def test_its_result_on_the_open_volume_is_one_undo(bench, job):
    job("automatic")
    annotate(bench, 5)
    segmentation = bench.work.segmentation_node
    before = segmentation.GetSegmentation().GetNumberOfSegments()
    bench.panel.ui.applySelector.setCurrentIndex(1)
    bench.panel.ui.applyOpenButton.click()
    settled(bench)
    assert bench.panel.messages.text == ""
    assert segmentation.GetSegmentation().GetNumberOfSegments() == before + 2
    assert labels_of(segmentation, bench.work.volume_node).any()
    review, ui = bench.review, bench.review_panel.ui
    doubts = [entry.doubt for entry in review.entries]
    assert len(doubts) > 2 and doubts == sorted(doubts, reverse=True) and doubts[0] > 0
    assert {bench.work.name(entry.segment) for entry in review.entries} == {"large", "rest"}
    assert "the adapter is likely to have wrong" in ui.reviewLabel.text and ui.reviewTable.rowCount == len(doubts)
    first = review.entries[0]
    ui.reviewNextButton.click()
    assert (bench.prompter.slice, bench.prompter.segment) == (first.slice, first.segment)
    bench.undo()
    assert not review.entries and "Taken back" in bench.panel.ui.collectionSummary.text
    assert segmentation.GetSegmentation().GetNumberOfSegments() == before


def test_an_adapter_of_another_model_is_refused(bench, job, checkpoints):
    job("automatic")
    bench.model_file = checkpoints[1]
    bench.reload_model()
    bench.panel.ui.applySelector.setCurrentIndex(1)
    bench.panel.ui.applyOpenButton.click()
    settled(bench)
    assert "choose that model" in bench.panel.messages.text
    assert bench.work.segmentation_node.GetSegmentation().GetNumberOfSegments() == 1


def test_a_prompt_adapter_stays_in_use_when_the_volume_is_switched(bench, job):
    first = bench.work.volume_node
    plain = ask_in_the_middle(bench)
    made = job("prompts")
    assert bench.panel.ui.applySelector.count == 1  # it cannot segment on its own
    bench.learning.use(made)
    adapted = ask_in_the_middle(bench)
    assert not np.allclose(adapted, plain, atol=1e-3)
    second = add_volume(two_blocks(), straight_affine(), "second")
    bench.open(second, bench.work.segmentation_node)
    np.testing.assert_allclose(ask_in_the_middle(bench), adapted, atol=1e-4)
    assert bench.inference.info.adapter == made.adapter
    bench.save()
    record = load_work(second, bench.work.segmentation_node, bench.work.volume)
    assert record.adapters[record.active_adapter].path == made.adapter
    bench.learning.use(None)
    bench.open(first, bench.work.segmentation_node)  # its record still names the adapter; the user's choice holds
    run_for(0.02)
    assert bench.learning.adapter is None
    np.testing.assert_allclose(ask_in_the_middle(bench), plain, atol=1e-4)
