"""The developer's "Reload" makes the widget anew while the module is shown: Slicer says ``cleanup``, then ``setup``."""

import gc
import weakref

import pytest
import slicer
from module_fixtures import WAIT
from module_scene import accept_clicks, add_volume, open_blocks, ras_of, settle, straight_affine, two_blocks
from processes import alive
from slicer_host import settings
from slicer_host.event_loop import run_for, run_until
from slicer_host.loading import close_module, open_module

from SAMFinetuneLogic.imaging.axes import SliceIndex


@pytest.fixture
def developer(host, module_file, clients, tmp_path, monkeypatch, capfd):
    """Slicer in developer mode, with the module shown; the tests keep no part of it."""
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(slicer.util, "selectedModule", lambda: "SAMFinetune")
    settings.clear()
    settings.QSettings().setValue("Developer/DeveloperMode", True)
    slicer.mrmlScene.Clear(0)
    open_module(module_file)
    yield host
    close_module(widget_now())
    settings.clear()
    slicer.mrmlScene.Clear(0)
    run_for(0.02)
    assert "Traceback" not in (errors := capfd.readouterr().err), errors


class Opened:
    """The module as it is now; nothing of it is kept."""

    def __init__(self, host):
        self.host = host

    @property
    def panel(self):
        return widget_now().panel

    @property
    def bench(self):
        return widget_now().panel.bench


def widget_now():
    return slicer.util.getModuleWidget("SAMFinetune")


def reload():
    slicer.util.findChild(widget_now().parent, "ReloadButton").click()
    run_for(0.05)


def parts_of(widget):
    """Weak references to the widget, its panel, its workbench, and what they are made of."""
    panel = widget.panel
    found = [widget, widget.logic, panel, panel.bench, *vars(panel).values(), *vars(panel.bench).values()]
    ours = [each for each in found if type(each).__module__.split(".")[0] in ("SAMFinetuneLib", "SAMFinetune")]
    return {type(each).__name__: weakref.ref(each) for each in ours}


def still_there(references):
    gc.collect()
    return sorted(name for name, reference in references.items() if reference() is not None)


def a_box_in_hand(opened, folder):
    opened.panel.toolbelt.take("box")


def points_being_placed(opened, folder):
    opened.panel.toolbelt.take("positive")


def an_effect(opened, folder):
    opened.panel.ui.segmentEditor.setActiveEffectByName("Paint")


def a_propagation(opened, folder):
    opened.bench.propagation.start()


def a_result_half_written(opened, folder):
    opened.bench.propagation.start()
    assert run_until(lambda: opened.bench.writing.running)


def an_export(opened, folder):
    opened.bench.exporting.start(folder, "blocks")
    assert opened.bench.exporting.running


def another_module_is_shown(opened, folder):
    widget_now().exit()


BUSY_WITH = (
    a_box_in_hand,
    points_being_placed,
    an_effect,
    a_propagation,
    a_result_half_written,
    an_export,
    another_module_is_shown,
)


@pytest.mark.parametrize("begin", BUSY_WITH)
def test_the_old_workbench_is_let_go_of_and_the_work_goes_on(begin, developer, clients, tmp_path):
    open_blocks(opened := Opened(developer), straight_affine())
    old = parts_of(widget_now())
    assert {"Workbench", "ModulePanel", "Inference", "PromptPanel", "Toolbelt", "SliceViews"} <= set(old)
    opened.bench.prompter.add_point(ras_of(opened, 5, 20, 25))
    settle(opened)
    opened.bench.prompter.accept()
    begin(opened, tmp_path)
    client = weakref.ref(clients.pop())
    opened.bench.add_segment("named in the last second")
    reload()
    # Slicer's own section for developers keeps the widget that it was made for.
    assert still_there(old) == ["SAMFinetuneWidget"] and client() is None
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert not opened.bench.editor_node.GetActiveEffectName()
    assert (tmp_path / "blocks.nii.gz").is_file() == (begin is an_export)
    assert opened.bench.work.name(opened.bench.prompter.segment) == "named in the last second"
    opened.bench.go_to(SliceIndex("k", 6))
    opened.bench.prompter.add_point(ras_of(opened, 6, 40, 50))
    settle(opened)
    assert opened.bench.prompter.accept().changed == 12 * 12


def test_prompts_that_are_not_accepted_come_back(developer, clients):
    open_blocks(opened := Opened(developer), straight_affine())
    opened.bench.prompter.add_point(ras_of(opened, 5, 20, 25))
    reload()
    settle(opened)
    assert len(opened.bench.prompter.prompts()) == 1 and opened.bench.prompter.candidates is not None


def test_the_models_process_ends(developer, monkeypatch):
    import SAMFinetuneLib.worker_client

    from SAMFinetuneLogic.worker.client import RemoteClient

    made = []
    monkeypatch.setattr(SAMFinetuneLib.worker_client, "make_client", lambda: made.append(RemoteClient()) or made[-1])
    reload()  # this one has the other clients
    slicer.util.getModuleWidget("SAMFinetune").panel.bench.open(add_volume(two_blocks(), straight_affine()))
    assert run_until(lambda: made and made[0].process_id is not None, WAIT)
    number = made[0].process_id
    assert alive(number)
    monkeypatch.setattr(slicer.util, "selectedModule", lambda: "Data")  # the new one is not entered
    reload()
    assert not alive(number)


def test_a_running_adaptation_goes_on_and_is_found_again(developer, clients, tmp_path, monkeypatch):
    from SAMFinetuneLib.learning import Learning

    from SAMFinetuneLogic.jobs.folder import JobFolder, Status

    monkeypatch.setattr(Learning, "_launch", lambda self, job: None)  # its process is this one
    open_blocks(opened := Opened(developer), straight_affine())
    opened.bench.preferences.job_folder = tmp_path / "jobs"
    accept_clicks(opened, (3, 5, 8))
    job = JobFolder(opened.bench.learning.start().path)
    old = parts_of(widget_now())
    with job.lock() as lock:
        assert lock.acquire()
        job.write_status(Status("running", step=2, steps=8))
        reload()
        clients.clear()
        assert still_there(old) == ["SAMFinetuneWidget"]
        assert opened.bench.learning.running and opened.bench.learning.job.path == job.path
        assert "step 2 of 8" in opened.panel.learn.ui.learnState.text and not job.is_cancelled
        opened.bench.learning.watch(None)
