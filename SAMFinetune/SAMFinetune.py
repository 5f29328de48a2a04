"""SAMFinetune for 3D Slicer: click, annotate a few slices, propagate, adapt, review, export.

Thin on purpose: the sections are in ``SAMFinetuneLib``, all that needs no Qt in ``SAMFinetuneLogic``.
"""

import sys
from pathlib import Path

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


class SAMFinetune(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("SAMFinetune")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["The SAMFinetune contributors"]
        parent.helpText = _(
            "Segment by clicks, fill in the volume from a few annotated slices, and adapt the model to the structure "
            "at hand, on this computer. For research use only."
        )
        parent.acknowledgementText = _("Built on Segment Anything; see the README for the papers and the licences.")
        if hasattr(slicer.app, "connect"):
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
        from SAMFinetuneLib.module_panel import ModulePanel

        self.logic = SAMFinetuneLogic()
        resources = Path(self.resourcePath(""))
        self.panel = ModulePanel(self.logic.workbench, self.layout, resources, self.logic.getParameterNode)

    def enter(self):
        self.panel.enter()

    def exit(self):
        self.panel.exit()

    def cleanup(self):
        self.removeObservers()
        self.panel.cleanup()


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


def register_sample_data():
    """Offer the phantom among Slicer's sample data."""
    from SAMFinetuneLib.sample_data import register

    register()
