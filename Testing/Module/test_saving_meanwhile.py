"""The scene is saved, or closed, while work goes on: what is in the file is whole, and comes back."""

import numpy as np
import pytest
import slicer
from module_scene import BRIGHT, ras_of, settle
from slicer_host.event_loop import run_for, run_until
from test_learning import annotated, without_launch  # noqa: F401 - fixtures
from test_scene_life import load_bundle, load_scene, save_scene
from test_undo_while_writing import block, propagate_half, tall, tower, until_written  # noqa: F401 - a fixture

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.jobs.folder import JobFolder, Status


def save_bundle(folder):
    """At once: no second passes in which the session would be put into the scene by itself."""
    assert slicer.mrmlScene.WriteToMRB(str(folder / "scene.mrb"))


WAYS = [(save_scene, load_scene), (save_bundle, load_bundle)]


def reload(opened, folder, load):
    slicer.mrmlScene.Clear(0)
    load(folder)
    assert run_until(lambda: opened.bench.work is not None, 10)
    opened.node = opened.bench.work.volume_node
    settle(opened)


@pytest.mark.parametrize(("save", "load"), WAYS)
@pytest.mark.parametrize("saved_before", [False, True])
def test_a_result_that_is_half_written_is_saved_as_a_whole(tower, tmp_path, save, load, saved_before):  # noqa: F811
    if saved_before:  # then the storage nodes are there already
        (tmp_path / "first").mkdir()
        save(tmp_path / "first")
    propagate_half(tower)
    save(tmp_path)
    np.testing.assert_array_equal(block(tower), tall() == BRIGHT)
    entries = tower.bench.review.entries
    assert entries and not tower.bench.writing.running
    reload(tower, tmp_path, load)
    np.testing.assert_array_equal(block(tower), tall() == BRIGHT)
    assert tower.bench.review.entries == entries
    assert tower.bench.propagation.annotated() == (4, 5, 50, 51)


@pytest.mark.parametrize(("save", "load"), WAYS)
def test_the_last_second_is_in_the_file(tower, tmp_path, save, load):  # noqa: F811
    run_for(1.2)
    tower.bench.go_to(SliceIndex("k", 20))
    tower.bench.prompter.add_point(ras_of(tower, 20, 20, 25))
    settle(tower)
    save(tmp_path)
    reload(tower, tmp_path, load)
    (placed,) = tower.bench.prompter.prompts()
    np.testing.assert_allclose(placed.prompt.position, ras_of(tower, 20, 20, 25), atol=1e-3)
    assert tower.bench.prompter.slice == SliceIndex("k", 20)


@pytest.mark.parametrize(("save", "load"), WAYS)
def test_a_running_propagation_is_not_in_the_file_and_goes_on(tower, tmp_path, save, load):  # noqa: F811
    before = block(tower)
    tower.panel.propagate.ui.propagateButton.click()
    save(tmp_path)
    assert tower.bench.propagation.running
    assert run_until(lambda: not tower.bench.propagation.running, 20)
    np.testing.assert_array_equal(block(tower), tall() == BRIGHT)
    reload(tower, tmp_path, load)
    np.testing.assert_array_equal(block(tower), before)
    assert not tower.bench.propagation.running and tower.bench.propagation.summary == ""
    tower.panel.propagate.ui.propagateButton.click()
    assert run_until(lambda: not tower.bench.propagation.running, 20)
    np.testing.assert_array_equal(block(tower), tall() == BRIGHT)


def test_a_scene_that_is_closed_while_a_result_is_written_leaves_nothing_behind(tower):  # noqa: F811
    propagate_half(tower)
    slicer.mrmlScene.Clear(0)
    assert not tower.bench.writing.running and not tower.bench.propagation.running
    run_for(0.3)
    assert tower.panel.propagate.messages.text == ""
    assert tower.panel.ui.segmentEditor.enabled


@pytest.mark.parametrize(("save", "load"), WAYS)
def test_a_running_adaptation_is_found_with_the_scene(without_launch, tmp_path, save, load):  # noqa: F811
    bench, ui = without_launch.bench, without_launch.panel.learn.ui
    ui.learnButton.click()
    job = JobFolder(bench.learning.job.path)
    with job.lock() as lock:
        assert lock.acquire()
        job.write_status(Status("running", step=2, steps=8))
        bench.learning.poll()
        save(tmp_path)
        slicer.mrmlScene.Clear(0)
        assert bench.learning.running and "step 2 of 8" in ui.learnState.text  # it goes on, and can be cancelled
        load(tmp_path)
        assert run_until(lambda: bench.work is not None, 10)
        assert bench.learning.running and bench.learning.job.path == job.path
        assert bench.propagation.annotated() == (3, 4, 5, 7, 8)
        job.write_status(Status("done", step=8, steps=8))
    bench.learning.poll()
    assert "Done" in ui.learnState.text
    slicer.mrmlScene.Clear(0)
    assert bench.learning.job is None and "Done" not in ui.learnState.text  # another scene, another structure
    load(tmp_path)
    assert run_until(lambda: "Done" in ui.learnState.text, 10)


def test_another_scene_begins_with_the_base_model(blocks, tmp_path):
    bench, adapter = blocks.bench, tmp_path / "job" / "adapter"
    adapter.mkdir(parents=True)
    save_bundle(tmp_path)
    bench.learning.adapter, bench.learning.chosen = adapter, True
    (tmp_path / "adapted").mkdir()
    bench.save()
    save_bundle(tmp_path / "adapted")
    slicer.mrmlScene.Clear(0)
    assert bench.learning.adapter is None
    load_bundle(tmp_path / "adapted")
    assert run_until(lambda: bench.work is not None, 10) and bench.learning.adapter == adapter
    slicer.mrmlScene.Clear(0)
    load_bundle(tmp_path)  # saved with the base model
    assert run_until(lambda: bench.work is not None, 10) and bench.learning.adapter is None
