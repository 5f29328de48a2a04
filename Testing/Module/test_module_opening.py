"""Opening the module: quickly, without torch, with every part in its place."""

import json
import subprocess
import sys
from pathlib import Path

import PySide6.QtCore as QtCore
import slicer
from module_scene import ras_of, settle
from PySide6.QtTest import QTest

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import json, sys, time
sys.path[:0] = [{host!r}]
sys.path.append({root!r})
from pathlib import Path
from slicer_host.application import start
start()
from slicer_host.loading import load_module, open_module
wall, cpu = time.perf_counter(), time.process_time()
module = load_module(Path({root!r}) / "SAMFinetune" / "SAMFinetune.py")
module.register_sample_data()  # as at the start of Slicer
early = [m for m in sys.modules if m.startswith(("SAMFinetuneLib.", "SAMFinetuneLogic.", "scipy"))]
widget = open_module(module)
found = dict(early=early, wall=time.perf_counter() - wall, cpu=time.process_time() - cpu,
             heavy=[m for m in ("torch", "scipy", "peft", "segment_anything", "PIL") if m in sys.modules])
print(json.dumps(found), flush=True)
import os
os._exit(0)
"""


def test_it_opens_within_a_second_and_without_torch():
    script = _SCRIPT.format(host=str(ROOT / "Testing" / "Host"), root=str(ROOT))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.strip().splitlines()[-1])
    assert found["heavy"] == []
    assert set(found["early"]) == {
        "SAMFinetuneLib.sample_data",
        "SAMFinetuneLogic.errors",
    }  # Slicer's start is ours too
    assert found["cpu"] < 1.0, found  # of this process: other work on the machine does not count


def test_the_sections_stand_in_the_order_of_the_work(opened):
    layout = opened.panel.widget._q.layout()
    widgets = [layout.itemAt(n).widget() for n in range(layout.count())]
    names = [widget.objectName() for widget in widgets if widget is not None]
    sections = [name for name in names if name.endswith("Section")]
    order = ["input", "prompt", "propagate", "learn", "review", "export", "editor"]
    assert sections == [f"{name}Section" for name in order if f"{name}Section" in sections]
    assert {"inputSection", "promptSection", "propagateSection", "reviewSection", "exportSection"} <= set(sections)
    assert "research use only" in opened.panel.ui.researchLabel.text.lower()


def test_every_button_does_something(opened):
    """No button of ours is without a receiver."""
    import PySide6.QtWidgets as QtWidgets

    buttons = opened.panel.widget._q.findChildren(QtWidgets.QAbstractButton)
    ours = [b for b in buttons if b.objectName().endswith("Button") and not b.objectName().startswith("qt_")]
    assert len(ours) > 20
    for button in ours:
        assert button.isSignalConnected(QtCore.QMetaMethod.fromSignal(button.clicked)), button.objectName()


def test_every_control_explains_itself(opened):
    import PySide6.QtWidgets as QtWidgets

    kinds = QtWidgets.QPushButton | QtWidgets.QToolButton | QtWidgets.QComboBox | QtWidgets.QSpinBox
    for child in opened.panel.widget._q.findChildren(QtWidgets.QWidget):
        if isinstance(child, kinds) and child.objectName() and not child.objectName().startswith("qt_"):
            assert child.toolTip(), child.objectName()


def test_the_tools_are_readable_in_a_narrow_panel(opened):
    """400 pixels, as Slicer's panel is at first: no button is cut or says less than it should."""
    from slicer_host.event_loop import run_for

    panel = opened.widget.parent._q
    width = panel.width()
    panel.setFixedWidth(400)
    panel.show()
    run_for(0.1)
    for button in opened.panel.prompt.tool_buttons.values():
        tool = button._q
        right = tool.mapTo(panel, QtCore.QPoint(tool.width(), 0)).x()
        assert right <= 400 and tool.width() >= tool.sizeHint().width(), (tool.objectName(), right, tool.width())
    panel.setMinimumWidth(0)
    panel.setMaximumWidth(16777215)
    panel.resize(width, panel.height())


def test_shortcuts_work_only_while_the_module_is_open(blocks):
    panel = blocks.panel.widget._q
    panel.window().activateWindow()
    panel.setFocus()
    QTest.keyClick(panel, QtCore.Qt.Key.Key_N)
    assert blocks.panel.toolbelt.current == "negative" and blocks.panel.prompt.ui.negativeButton.checked
    QTest.keyClick(panel, QtCore.Qt.Key.Key_Escape)
    assert blocks.panel.toolbelt.current == ""
    assert "(N)" in blocks.panel.prompt.ui.negativeButton.text
    blocks.widget.exit()
    QTest.keyClick(panel, QtCore.Qt.Key.Key_N)
    assert blocks.panel.toolbelt.current == ""
    blocks.widget.enter()


def test_leaving_puts_the_tool_away_and_gives_the_mouse_back(blocks):
    import slicer

    interaction = slicer.app.applicationLogic().GetInteractionNode()
    blocks.panel.prompt.ui.positiveButton.click()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    blocks.widget.exit()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert not blocks.panel.prompt.ui.positiveButton.checked
    blocks.widget.enter()
    blocks.panel.prompt.ui.negativeButton.click()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)  # Slicer's own way out
    assert blocks.panel.toolbelt.current == ""


def test_the_console_drives_the_same_objects(blocks):
    prompter = blocks.widget.logic.workbench.prompter
    prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    assert prompter.accept().changed == 20 * 28


def test_folders_are_chosen_by_their_buttons(opened, tmp_path):
    import PySide6.QtWidgets as QtWidgets
    import qt

    inputs, export = opened.panel.input.ui, opened.panel.export.ui
    for number, widget in enumerate((inputs.modelFolder, inputs.jobFolder, export.exportFolder)):
        folder = tmp_path / str(number)
        qt.QFileDialog.answers.append(str(folder))
        widget._q.findChild(QtWidgets.QToolButton, "qt_browse").click()
        assert widget.currentPath == str(folder) and not qt.QFileDialog.answers
    assert opened.bench.preferences.model_folder == tmp_path / "0"


def test_settings_persist(opened, tmp_path):
    """They are there in the next session of Slicer, and hold for the model that is loaded then."""
    from slicer_host.event_loop import run_for
    from slicer_host.loading import close_module, open_module

    inputs, prompt = opened.panel.input.ui, opened.panel.prompt.ui
    inputs.deviceSelector.setCurrentIndex(1)
    inputs.jobFolder.currentPath = str(tmp_path / "jobs")
    inputs.modelFolder.currentPath = str(tmp_path / "models")
    inputs.cacheLimit.value = 128
    prompt.brushSize.value = 11.0
    opened.bench.preferences.export_folder = tmp_path / "results"
    again = open_module(sys.modules["SAMFinetune"])
    panel = again.panel
    run_for(0.02)
    assert panel.input.ui.deviceSelector.currentData == "cpu" and panel.input.ui.cacheLimit.value == 128
    assert panel.input.ui.jobFolder.currentPath == str(tmp_path / "jobs")
    assert panel.input.ui.modelFolder.currentPath == str(tmp_path / "models")
    assert panel.prompt.ui.brushSize.value == 11.0 and panel.toolbelt._brushes[0].diameter == 11.0
    assert panel.export.ui.exportFolder.currentPath == str(tmp_path / "results")
    choice = panel.bench.inference._choice()
    assert (choice.device, choice.cache_mb) == ("cpu", 128)
    assert panel.bench.preferences.job_folder == tmp_path / "jobs"
    close_module(again)
    slicer.modules.SAMFinetuneWidget = opened.widget


def test_the_strategy_stands_behind_advanced_with_the_recommended_one_chosen(opened):
    from SAMFinetuneLib.learning import RECOMMENDED

    ui = opened.panel.learn.ui
    assert ui.advancedSection.collapsed
    assert ui.advancedSection._q.isAncestorOf(ui.strategySelector._q)
    assert ui.strategySelector.currentData == RECOMMENDED and "recommended" in ui.strategySelector.currentText
    assert ui.strategySelector.count > 3 and ui.modeSelector.currentData == "prompts"
