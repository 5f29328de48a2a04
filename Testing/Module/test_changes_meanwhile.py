"""Window, model, device and cache are changed while slices are encoded, prompts wait or a propagation runs."""

import pytest
from module_scene import BRIGHT, ras_of, settle
from slicer_host.event_loop import run_for, run_until
from test_undo_while_writing import block, propagate_half, tall, tower, until_written  # noqa: F401 - a fixture

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.store import ModelStore


def state_of(opened):
    return opened.panel.prompt.ui.sliceState.text


def choose(selector, text):
    selector.setCurrentIndex(selector.findText(text))


def choose_another_model(ui):
    """Its file is here; what is in it does not matter to the client of these tests."""
    path = ModelStore().folder / find_entry("sam_vit_b").filename
    path.parent.mkdir(parents=True)
    path.touch()
    ui.modelSelector.setCurrentIndex(ui.modelSelector.findData("sam_vit_b"))


def test_a_slice_is_ready_for_the_window_that_it_was_encoded_with(blocks):
    bench = blocks.bench
    assert run_until(lambda: state_of(blocks).endswith("ready"))
    for number in range(12):  # each opens the volume anew: an address in memory may come back
        bench.set_window(f"{number}/600")
        assert not bench.inference.encoded(bench.work, bench.prompter.slice)
        assert state_of(blocks).endswith("being prepared ...")
        assert run_until(lambda: state_of(blocks).endswith("ready"))


def test_a_window_that_stops_a_propagation_says_so(tower):  # noqa: F811
    before = block(tower)
    tower.panel.propagate.ui.propagateButton.click()
    tower.bench.set_window("0/600")
    assert not tower.bench.propagation.running and tower.panel.propagate.ui.propagateButton.enabled
    assert "was stopped" in tower.panel.propagate.messages.text
    run_for(0.3)
    assert (block(tower) == before).all()
    tower.panel.propagate.ui.propagateButton.click()
    assert tower.panel.propagate.messages.text == ""
    assert run_until(lambda: not tower.bench.propagation.running, 20)
    assert (block(tower) == (tall() == BRIGHT)).all()


def test_a_window_in_the_middle_of_writing_leaves_the_whole_result(tower):  # noqa: F811
    propagate_half(tower)
    tower.bench.set_window("0/600")
    assert not tower.bench.writing.running and tower.panel.propagate.messages.text == ""
    assert (block(tower) == (tall() == BRIGHT)).all()
    assert tower.bench.review.entries
    run_for(0.3)
    entries = tower.bench.review.entries
    tower.bench.undo()
    assert tower.bench.review.entries == ()  # nothing of it is left to be reviewed
    tower.bench.redo()
    assert tower.bench.review.entries == entries
    tower.bench.undo()
    assert set(block(tower).any(axis=(1, 2)).nonzero()[0]) == {5, 50}


@pytest.mark.parametrize("what", ["model", "device"])
def test_a_propagation_goes_on_while_another_model_is_loaded(tower, what):  # noqa: F811
    panel, bench = tower.panel, tower.bench
    panel.propagate.ui.propagateButton.click()
    if what == "model":
        choose_another_model(panel.input.ui)
        assert bench.state.model == "sam_vit_b"
    else:
        choose(panel.input.ui.deviceSelector, "cpu")
    assert run_until(lambda: not bench.propagation.running, 20)
    assert (block(tower) == (tall() == BRIGHT)).all()
    assert panel.propagate.messages.text == panel.input.messages.text == ""


@pytest.mark.parametrize("change", ["model", "device", "window"])
def test_a_prompt_that_waits_is_answered_after_the_change(blocks, change):
    bench, ui = blocks.bench, blocks.panel.input.ui
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    assert bench.prompter.waiting
    if change == "model":
        choose_another_model(ui)
    elif change == "device":
        choose(ui.deviceSelector, "cpu")
    else:
        bench.set_window("0/600")
    settle(blocks)
    assert bench.prompter.candidates is not None and len(bench.prompter.prompts()) == 1
    assert blocks.panel.prompt.messages.text == ""
    assert bench.prompter.accept().slices == 1


def test_clearing_the_cache_says_that_nothing_is_prepared(blocks):
    bench = blocks.bench
    assert run_until(lambda: state_of(blocks).endswith("ready"))
    blocks.panel.input.ui.clearCacheButton.click()
    assert state_of(blocks).endswith("not prepared yet")
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    assert bench.prompter.candidates is not None and state_of(blocks).endswith("ready")
    bench.go_to(SliceIndex("k", 6))
    assert run_until(lambda: state_of(blocks).endswith("ready"))


def test_clearing_the_cache_during_a_propagation_does_not_stop_it(tower):  # noqa: F811
    tower.panel.propagate.ui.propagateButton.click()
    tower.panel.input.ui.clearCacheButton.click()
    assert run_until(lambda: not tower.bench.propagation.running, 20)
    assert (block(tower) == (tall() == BRIGHT)).all()


def test_a_slice_that_could_not_be_encoded_is_not_said_to_be_prepared(blocks, monkeypatch):
    bench = blocks.bench
    client = bench.inference.client

    def focus(*arguments, **_):
        arguments[-1](ModelError("The model does not answer: choose another device."))

    monkeypatch.setattr(client, "focus", focus)
    bench.go_to(SliceIndex("k", 9))
    assert state_of(blocks).endswith("not prepared yet")
    assert "choose another device" in blocks.panel.input.ui.deviceState.text
