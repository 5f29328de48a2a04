"""SAMFinetune for 3D Slicer: click, annotate a few slices, propagate, adapt, review, export.

Thin on purpose: the sections are in ``SAMFinetuneLib``, all that needs no Qt in ``SAMFinetuneLogic``.
"""

import sys
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

try:
    import SAMFinetuneLogic.errors
except ImportError:
    # From source, Slicer puts only this file's folder on the path. Appended: nothing of the user's is hidden.
    sys.path.append(str(Path(__file__).resolve().parents[1]))


NEEDED = (5, 12)
"""The oldest release of Slicer that has all that the module uses."""


class SAMFinetune(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("SAMFinetune")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Markups", "Segmentations"]
        parent.contributors = ["The SAMFinetune contributors"]
        parent.helpText = _(
            "Segment by clicks, fill in the volume from a few annotated slices, and adapt the model to the structure "
            "at hand, on this computer. For research use only."
        )
        parent.acknowledgementText = _("Built on Segment Anything; see the README for the papers and the licences.")
        if hasattr(slicer.app, "connect") and new_enough():
            slicer.app.connect("startupCompleted()", register_sample_data)


class SAMFinetuneWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        super().setup()
        if not new_enough():
            version = ".".join(map(str, NEEDED))
            text = _("SAMFinetune needs 3D Slicer {version} or newer: install it from download.slicer.org.")
            label = qt.QLabel(text.format(version=version))
            label.wordWrap = True
            self.layout.addWidget(label)
            self.layout.addStretch(1)
            return
        from SAMFinetuneLib.module_panel import ModulePanel

        self.logic = SAMFinetuneLogic()
        resources = Path(self.resourcePath(""))
        self.panel = ModulePanel(self.logic.workbench, self.layout, resources, self.logic.getParameterNode)
        if is_selected(self.moduleName):
            self.enter()  # "Reload" does not say that the user is here

    def enter(self):
        if self.panel is not None:
            self.panel.enter()

    def exit(self):
        if self.panel is not None:
            self.panel.exit()

    def cleanup(self):
        self.removeObservers()
        if self.panel is not None:
            self.panel.cleanup()
        self.panel = self.logic = None  # after "Reload", Slicer keeps this widget behind its section for developers


class SAMFinetuneLogic(ScriptedLoadableModuleLogic):
    """The work without widgets; ``workbench`` is the object for the Python console."""

    def __init__(self):
        super().__init__()
        from SAMFinetuneLib.workbench import Workbench
        from SAMFinetuneLib.worker_client import make_client

        self.workbench = Workbench(make_client)


class SAMFinetuneTest(ScriptedLoadableModuleTest):
    """The self-test that a user runs in Slicer; see ``Testing/Slicer/CHECKLIST.md`` for what it cannot see."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        from SAMFinetuneLib.self_test import run_scenario

        self.setUp()
        run_scenario(self)


def is_selected(name):
    """Whether the user is in a module."""
    try:
        return slicer.util.selectedModule() == name
    except RuntimeError:  # there is no main window
        return False


def new_enough():
    """Whether this Slicer can run the module."""
    return (slicer.app.majorVersion, slicer.app.minorVersion) >= NEEDED


def register_sample_data():
    """Offer the phantom among Slicer's sample data."""
    from SAMFinetuneLib.sample_data import register

    register()
