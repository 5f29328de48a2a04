"""Adaptation in the background: made from the scene, followed by its folder, used on the user's word."""

import importlib.util
import json

import numpy as np
import pytest
from module_scene import accept_clicks, ras_of, settle
from slicer_host.event_loop import run_until

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.schedule import settings_for
from SAMFinetuneLogic.finetuning.snapshot import read_snapshot
from SAMFinetuneLogic.finetuning.strategy import parse_strategy
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.jobs.folder import JobFolder, Status
from SAMFinetuneLogic.jobs.reporting import Reporter
from SAMFinetuneLogic.mrml.annotated import mark_annotated

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("SAMFinetuneLogic.finetuning.adapt") is None, reason="finetuning.adapt is not there"
)


@pytest.fixture
def annotated(blocks, tmp_path):
    """Five annotated slices."""
    blocks.bench.preferences.job_folder = tmp_path / "jobs"
    accept_clicks(blocks, (3, 4, 5, 7, 8))
    return blocks


@pytest.fixture
def without_launch(annotated, monkeypatch):
    """The job is made and not started: what its process writes is written by the test."""
    monkeypatch.setattr(annotated.bench.learning, "_launch", lambda job: None)
    return annotated


def test_too_few_slices_are_explained(blocks):
    assert "at least 3" in blocks.panel.learn.ui.learnState.text
    blocks.panel.learn.ui.learnButton.click()
    assert "annotated" in blocks.panel.learn.messages.text


def test_a_job_holds_the_annotated_slices_and_no_names(without_launch):
    bench = without_launch.bench
    assert "5 annotated slices" in without_launch.panel.learn.ui.learnState.text
    without_launch.panel.learn.ui.learnButton.click()
    assert without_launch.panel.learn.messages.text == ""
    job = bench.learning.job
    data, split = read_snapshot(job.data)
    assert [entry.slice.index for entry in data.slices] == [3, 4, 5, 7, 8]
    drawn = np.zeros(data.slices[0].labels.shape, dtype=bool)
    drawn[10:30, 12:40] = True
    np.testing.assert_array_equal(data.slices[0].labels > 0, drawn)
    assert split.gate  # held out for the comparison
    assert "blocks" not in (job.path / "job.json").read_text()


def test_it_takes_as_many_steps_as_the_command_line(without_launch):
    """By the slices that it learns from: those that are held out are not seen."""
    bench = without_launch.bench
    bench.prompter.set_slice(SliceIndex("j", 12))
    work = bench.work
    wanted = [SliceIndex("j", j) for j in range(4, 44)]
    mark_annotated(work.segmentation_node, [bench.prompter.segment], work.volume, wanted)
    for strategy in ("lora-encoder-decoder", "adapter-decoder"):
        job = bench.learning.start(strategy)
        _, parts = read_snapshot(job.data)
        chosen = parse_strategy(strategy)
        expected = settings_for(chosen.preset, len(parts.train))
        assert 10 < len(parts.train) < len(wanted)
        assert job.read_description().work["settings"] == expected.to_dict()
        assert expected != settings_for(chosen.preset, len(wanted))


@pytest.mark.parametrize("message", ["Starting.", "Waiting for another job to end."])
def test_a_job_that_waits_says_for_what(without_launch, message):
    panel, bench = without_launch.panel.learn, without_launch.bench
    panel.ui.learnButton.click()
    job = bench.learning.job
    with job.lock() as lock:
        assert lock.acquire()
        job.write_status(Status("queued", message=message))
        bench.learning.poll()
        assert panel.ui.learnState.text == message


def test_slices_that_are_left_out_are_named(without_launch):
    bench = without_launch.bench
    first = bench.prompter.segment
    bench.select_segment(bench.add_segment("other"))
    for k in (3, 5, 7, 8):
        bench.go_to(SliceIndex("k", k))
        bench.prompter.mark_done()
    bench.select_segment(first)
    without_launch.panel.learn.ui.learnButton.click()
    assert "Slices 4 are annotated for some of the segments only" in without_launch.panel.learn.messages.text
    data, _ = read_snapshot(bench.learning.job.data)
    assert [entry.slice.index for entry in data.slices] == [3, 5, 7, 8]


def test_too_few_slices_because_others_are_annotated_in_part_are_named(without_launch):
    bench = without_launch.bench
    bench.select_segment(bench.add_segment("other"))
    bench.go_to(SliceIndex("k", 5))
    bench.prompter.mark_done()
    without_launch.panel.learn.ui.learnButton.click()
    said = without_launch.panel.learn.messages.text
    assert "at least 3" in said and "Slices 3, 4, 7, 8 are annotated for some of the segments only" in said


def test_a_job_for_whole_volumes_learns_from_slices_turned_alike(without_launch):
    panel, bench = without_launch.panel.learn, without_launch.bench
    panel.ui.modeSelector.setCurrentIndex(1)
    panel.ui.learnButton.click()
    assert panel.messages.text == ""
    job = bench.learning.job
    assert job.read_description().work["mode"] == "automatic"
    data, _ = read_snapshot(job.data)
    assert data.turned
    job.adapter.mkdir()
    job.write_status(Status("done", verdict="accepted"))
    bench.learning.poll()
    assert bench.learning.finished() == [] and [each.path for each in bench.learning.finished("automatic")] == [
        job.path
    ]
    assert panel.ui.adapterSelector.count == 1  # no model for prompts
    assert without_launch.panel.collection.ui.applySelector.count == 2
    with pytest.raises(InputError, match="takes no prompts"):
        bench.learning.use(job)


def test_progress_the_gates_table_and_switching(without_launch):
    panel, bench = without_launch.panel.learn, without_launch.bench
    panel.ui.learnButton.click()
    job = bench.learning.job
    with job.lock() as lock:
        assert lock.acquire()
        with Reporter(job) as reporter:
            reporter.state("running")
            for step in range(1, 5):
                reporter.event({"event": "step", "step": step, "steps": 8, "seconds": 0.1 * step, "loss": 1.0 / step})
            reporter.event({"event": "epoch", "validation_dice": 0.7})
            bench.learning.poll()
            assert bench.learning.running and "step 4 of 8" in panel.ui.learnState.text
            assert not panel.ui.learnBar.isHidden() and panel.ui.learnCancelButton.enabled
            assert [point.loss for point in bench.learning.curve][:2] == [1.0, 0.5]
            assert bench.prompter.add_point(ras_of(without_launch, 8, 20, 25))  # clicks go on
            settle(without_launch)
            assert bench.prompter.candidates is not None
            panel.ui.learnCancelButton.click()
            assert job.is_cancelled
            entry = {"name": "Segment_1", "value": 1, "slices": 2, "base_dice": 0.81, "adapted_dice": 0.9}
            entry |= {"base_hd95": None, "adapted_hd95": None}
            reporter.event(
                {"event": "verdict", "text": "Accepted: +0.090 Dice.", "verdict": "accepted", "classes": [entry]}
            )
            job.adapter.mkdir()
            reporter.state("done", "Accepted: +0.090 Dice.")
    bench.learning.poll()
    assert not bench.learning.running and not panel.ui.evidenceTable.isHidden()
    texts = [panel.ui.evidenceTable._q.item(0, column).text() for column in range(4)]
    assert texts == ["Segment_1", "2", "0.810", "0.900"]
    assert "Accepted" in panel.ui.verdictLabel.text
    loads = without_launch.clients[0].log.count("load")
    assert panel.ui.adapterSelector.count == 2 and panel.ui.adapterSelector.currentIndex == 0
    panel.ui.adapterSelector.setCurrentIndex(1)
    assert bench.learning.adapter == job.adapter and without_launch.clients[0].log.count("load") == loads + 1
    panel.ui.adapterSelector.setCurrentIndex(0)  # roll back
    assert bench.learning.adapter is None and without_launch.clients[0].log.count("load") == loads + 2


def test_a_dead_job_says_so_and_can_go_on(without_launch, monkeypatch):
    panel, bench = without_launch.panel.learn, without_launch.bench
    panel.ui.learnButton.click()
    bench.learning.job.write_status(Status("running", pid=1, step=3, steps=8))
    bench.learning.poll()
    assert "ended before it was done" in panel.ui.learnState.text and not panel.ui.learnResumeButton.isHidden()
    started = []
    monkeypatch.setattr(bench.learning, "_launch", started.append)
    panel.ui.learnResumeButton.click()
    assert started == [bench.learning.job]


def test_a_running_job_is_found_again(without_launch):
    bench = without_launch.bench
    without_launch.panel.learn.ui.learnButton.click()
    job = JobFolder(bench.learning.job.path)
    with job.lock() as lock:
        assert lock.acquire()
        job.write_status(Status("running", step=2, steps=8))
        bench.learning.watch(None)
        without_launch.widget.exit()
        without_launch.widget.enter()
        assert bench.learning.job is not None and bench.learning.job.path == job.path
        bench.learning.watch(None)


@pytest.mark.slow
def test_a_real_job_runs_to_its_end(annotated, monkeypatch):
    from SAMFinetuneLogic.finetuning import schedule
    from SAMFinetuneLogic.models.loading import load_model

    real = schedule.settings_for
    monkeypatch.setattr(schedule, "settings_for", lambda *given: real(*given, steps=4, epoch_steps=2, views=2))
    panel, bench = annotated.panel.learn, annotated.bench
    bench.preferences.device = "cpu"
    sha256 = load_model("samfinetune_default", "cpu").weights_sha256
    monkeypatch.setattr(bench.inference, "info", type("Info", (), {"sha256": sha256, "warnings": ()})())
    panel.ui.learnButton.click()
    assert panel.messages.text == ""
    assert bench.learning.running
    bench.prompter.add_point(ras_of(annotated, 8, 20, 25))  # a click during the job
    settle(annotated)
    assert bench.prompter.candidates is not None
    assert run_until(lambda: not bench.learning.running, 300)
    assert bench.learning.status.state == "done", (bench.learning.job.log_file.read_text(), bench.learning.status)
    assert bench.learning.evidence is not None and json.dumps(bench.learning.evidence)
    assert panel.ui.evidenceTable.rowCount == 1
