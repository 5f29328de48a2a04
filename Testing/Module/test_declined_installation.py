"""The user declines the installation of PyTorch: the module stays usable, says what to do, and works after a yes."""

import pytest
import slicer
from module_fixtures import WAIT
from module_scene import add_volume, straight_affine, two_blocks
from slicer_host.event_loop import run_for, run_until
from slicer_host.pytorch_extension import MissingTorch

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.worker.client import RemoteClient


@pytest.fixture
def torch(tmp_path):
    missing = MissingTorch(tmp_path)
    yield missing
    missing.restore()


@pytest.fixture
def real_process(module_file, monkeypatch):
    """The module is opened in front of a real inference process."""
    import SAMFinetuneLib.worker_client

    monkeypatch.setattr(SAMFinetuneLib.worker_client, "make_client", RemoteClient)
    slicer.packaging.reset()


def test_no_is_an_answer(torch, opened):
    panel, ui = opened.panel, opened.panel.ui
    assert not ui.installFrame.isHidden() and "torch" in ui.installLabel.text
    for count in (1, 2):
        ui.installButton.click()
        assert torch.asked == count and not ui.installFrame.isHidden()
        assert "press the button again" in panel.messages.text and not slicer.packaging.installed
    torch.accepts = True
    ui.installButton.click()
    assert torch.asked == 3 and ui.installFrame.isHidden() and panel.messages.text == ""


def test_no_to_the_other_packages_is_no_failure(opened):
    packaging, panel = slicer.packaging, opened.panel
    packaging.missing.add("peft")
    panel.show_missing()
    packaging.accepts = False
    panel.ui.installButton.click()
    assert "press the button again" in panel.messages.text and "connection" not in panel.messages.text
    assert not packaging.installed and not panel.ui.installFrame.isHidden()


def test_work_goes_on_without_torch_and_the_model_comes_after_a_yes(
    torch, real_process, host, module_file, tmp_path, monkeypatch, capfd
):
    from slicer_host import settings
    from slicer_host.loading import close_module, open_module

    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    settings.clear()
    slicer.mrmlScene.Clear(0)
    widget = open_module(module_file)
    panel, bench = widget.panel, widget.panel.bench
    bench.preferences.device = "cpu"
    panel.ui.installButton.click()  # no
    affine = straight_affine()
    panel.input.ui.volumeSelector.setCurrentNode(add_volume(two_blocks(), affine))
    bench.go_to(SliceIndex("k", 5))
    run_for(0.3)
    assert bench.work is not None
    assert "PyTorch" in bench.inference.status and "Install" in bench.inference.status, bench.inference.status
    place = tuple(float(x) for x in (affine @ [25, 20, 5, 1])[:3])
    bench.prompter.add_point(place)
    assert run_until(lambda: panel.prompt.messages.text, WAIT)
    assert "Install" in panel.prompt.messages.text
    bench.undo()
    assert not bench.prompter.prompts()
    bench.prompter.mark_done()  # what needs no model works
    assert bench.propagation.annotated() == (5,)
    bench.prompter.add_point(place)
    torch.accepts = True
    panel.ui.installButton.click()
    assert panel.messages.text == "" and panel.ui.installFrame.isHidden()
    assert run_until(lambda: bench.prompter.candidates is not None, WAIT), bench.inference.status
    assert bench.prompter.accept().slices == 1
    close_module(widget)
    slicer.mrmlScene.Clear(0)
    run_for(0.02)
    assert "Traceback" not in capfd.readouterr().err
