"""The scenario that a user runs in Slicer with one click: from the phantom to a file, with the real model."""

import tempfile
import time
from pathlib import Path
from typing import Any

import slicer

from SAMFinetuneLib.exporting import export
from SAMFinetuneLib.try_it import try_it
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLib.worker_client import make_client
from SAMFinetuneLogic.mrml.segments import segment_mask
from SAMFinetuneLogic.propagation.options import PropagationOptions


def run_scenario(test: Any) -> None:
    """Open, click, accept, propagate, undo, export; ``test`` is a unittest case.

    The panel of the module is used if there is one, so that it is tested too; without a main window, a workbench.
    """
    bench, owned = _workbench()
    try:
        _run(test, bench)
    finally:
        if owned:
            bench.close()


def _run(test: Any, bench: Workbench) -> None:
    test.delayDisplay("A click into the phantom's liver")
    try_it(bench)
    _wait(test, lambda: not bench.prompter.waiting, "the model's answer")
    candidates = bench.prompter.candidates
    test.assertIsNotNone(candidates)
    test.assertGreater(int(candidates.mask.sum()), 100)
    test.delayDisplay("Accept")
    accepted = bench.prompter.accept()
    test.assertGreater(accepted.changed, 100)
    segment = bench.prompter.segment
    one_slice = int(segment_mask(bench.work.segmentation_node, segment, bench.work.volume).sum())
    test.assertEqual(one_slice, accepted.changed)
    test.delayDisplay("Propagate")
    bench.propagation.start(PropagationOptions(method="interpolate", measure=False))
    _wait(test, lambda: not bench.propagation.running, "the propagation")
    test.assertTrue(bench.propagation.summary)
    test.delayDisplay("Export")
    with tempfile.TemporaryDirectory() as folder:
        written = export(bench.work, Path(folder), "self_test", model=bench.state.model)
        test.assertTrue(all(path.stat().st_size for path in written.paths))
    test.delayDisplay("The test passed.")


def _workbench() -> tuple[Workbench, bool]:
    from SAMFinetuneLib.parameter_node import ModuleState

    module = getattr(slicer.modules, "samfinetune", None)
    if slicer.util.mainWindow() is not None and module is not None:
        slicer.util.selectModule("SAMFinetune")
        return slicer.util.getModuleWidget("SAMFinetune").logic.workbench, False
    bench = Workbench(make_client)
    bench.state = ModuleState(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    return bench, True


def _wait(test: Any, condition: Any, what: str, seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        test.assertLess(time.monotonic(), end, f"{what} did not come within {seconds:.0f} s")
        slicer.app.processEvents()
        time.sleep(0.01)
