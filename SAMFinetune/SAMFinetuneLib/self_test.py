"""The scenario that a user runs in Slicer with one click: from the phantom to a file, with the real model.

The same as the tests on the host go through (``Testing/Module``), on the module's own panel.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SAMFinetuneLib.exporting import export
from SAMFinetuneLib.sample_data import NAME
from SAMFinetuneLib.try_it import try_it
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.mrml.segments import segment_ids, segment_mask
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.synthetic.phantom import make_phantom
from SAMFinetuneLogic.synthetic.phantom_prompts import AXIS, phantom_prompts

_ANNOTATED = (-8, -4, 4, 8)
"""Slices beside the first one."""
_MANY_VOXELS = 100


def run_scenario(test: Any) -> None:
    """Each step on the result of the ones before; ``test`` is a unittest case."""
    try:
        slicer.util.selectModule("SAMFinetune")
    except RuntimeError:  # there is no main window
        slicer.util.getModuleWidget("SAMFinetune").enter()
    bench = slicer.util.getModuleWidget("SAMFinetune").logic.workbench
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        steps = Scenario(test, bench, Path(folder))
        for step in (
            steps.click,
            steps.correct,
            steps.accept,
            steps.annotate_more,
            steps.second_segment,
            steps.propagate,
            steps.review,
            steps.adapt,
            steps.export,
            steps.save_and_reload,
            steps.close_in_the_middle,
        ):
            test.delayDisplay(str(step.__doc__).splitlines()[0])
            step()
    test.delayDisplay("The test passed.")


class Scenario:
    """The steps; each leaves the scene for the next one.

    Args:
        test: a unittest case.
        bench: of the module's panel.
        folder: for files; goes away afterwards.
    """

    def __init__(self, test: Any, bench: Workbench, folder: Path) -> None:
        self.test, self.bench, self.folder = test, bench, folder
        self.phantom = make_phantom()
        self.first = SliceIndex(AXIS, 0)

    def click(self) -> None:
        """A click into the phantom's liver"""
        self.first = try_it(self.bench)
        self._answered()
        self.test.assertGreater(self._preview().sum(), _MANY_VOXELS)
        self.test.assertTrue(self._preview()[self._pixel()])

    def correct(self) -> None:
        """A click that takes away, undo and redo"""
        prompter, before = self.bench.prompter, self._preview()
        rows, cols = np.nonzero(before)
        farthest = np.argmax(np.hypot(rows - self._pixel()[0], cols - self._pixel()[1]))
        there = self._ras(self.first.index, rows[farthest], cols[farthest])
        prompter.add_point(there, positive=False, axis=AXIS)
        self._answered()
        after = self._preview()
        self.bench.undo()
        self._answered()
        np.testing.assert_array_equal(self._preview(), before)
        self.bench.redo()
        self._answered()
        np.testing.assert_array_equal(self._preview(), after)
        self.bench.undo()
        self._answered()

    def accept(self) -> None:
        """Accept, and the Segment Editor's undo"""
        expected = self._preview()
        accepted = self.bench.prompter.accept()
        self.test.assertEqual(accepted.changed, expected.sum())
        np.testing.assert_array_equal(self._mask()[self.first.index], expected)
        self.test.assertEqual(self._mask().sum(), expected.sum())
        self.bench.undo()
        self.test.assertEqual(self._mask().sum(), 0)
        self.bench.redo()
        self.test.assertEqual(self._mask().sum(), expected.sum())

    def annotate_more(self) -> None:
        """Boxes on further slices"""
        liver = self.phantom.truth.mask(phantom_prompts(self.phantom)[0].segment.value)
        for step in _ANNOTATED:
            index = self.first.index + step
            rows, cols = np.nonzero(liver[index])
            self.bench.go_to(SliceIndex(AXIS, index))
            corners = [self._ras(index, rows.min(), cols.min()), self._ras(index, rows.max(), cols.max())]
            self.bench.prompter.add_box(corners, AXIS)
            self._answered()
            self.bench.prompter.accept()
        self.test.assertEqual(len(self.bench.propagation.annotated()), 1 + len(_ANNOTATED))

    def second_segment(self) -> None:
        """A second segment, with overwriting off and masked by intensity"""
        bench, editor = self.bench, self.bench.editor_node
        liver, before = bench.prompter.segment, self._mask()
        boxed = phantom_prompts(self.phantom)[1]
        spleen = bench.add_segment(boxed.segment.name)
        low = float(np.median(bench.work.volume.voxels[self.phantom.truth.mask(boxed.segment.value)]))
        overwrite = editor.GetOverwriteMode()
        editor.SetOverwriteMode(editor.OverwriteNone)
        editor.SetSourceVolumeIntensityMask(True)
        editor.SetSourceVolumeIntensityMaskRange(low, low + 10000)
        try:
            bench.prompter.add(boxed.prompts[0], AXIS)
            self._answered()
            bench.prompter.accept()
        finally:
            editor.SetSourceVolumeIntensityMask(False)
            editor.SetOverwriteMode(overwrite)
        drawn = self._mask(spleen)
        self.test.assertGreater(drawn.sum(), _MANY_VOXELS)
        self.test.assertGreaterEqual(bench.work.volume.voxels[drawn].min(), low)
        np.testing.assert_array_equal(self._mask(liver), before)
        bench.select_segment(liver)
        bench.go_to(self.first)

    def propagate(self) -> None:
        """Propagate, cancelled and to its end"""
        bench, before = self.bench, self._mask()
        bench.propagation.start(PropagationOptions(method="propagate", measure=False))
        bench.propagation.cancel()
        self._wait(lambda: not bench.propagation.running, "the end of the cancelled propagation")
        np.testing.assert_array_equal(self._mask(), before)
        bench.propagation.start(PropagationOptions(method="interpolate", measure=False))
        self._wait(lambda: not bench.propagation.running, "the propagation")
        self.test.assertTrue(bench.propagation.summary)
        self.test.assertGreater(self._mask().sum(), before.sum())

    def review(self) -> None:
        """Review: to the most doubtful slice, which is confirmed"""
        bench = self.bench
        entry, count = bench.review.forward(), len(bench.review.entries)
        self.test.assertEqual(bench.prompter.slice, entry.slice)
        bench.review.accept()
        self.test.assertEqual(len(bench.review.entries), count - 1)
        self.test.assertIn(entry.slice.index, bench.propagation.annotated())

    def adapt(self) -> None:
        """A short adaptation, with a click meanwhile"""
        bench, learning = self.bench, self.bench.learning
        liver, spleen = segment_ids(bench.work.segmentation_node)
        annotated = bench.propagation.annotated()
        bench.select_segment(spleen)
        for index in annotated:  # learned from are the slices that are annotated for all segments
            bench.go_to(SliceIndex(AXIS, index))
            bench.prompter.mark_done()
        bench.select_segment(liver)
        usual, bench.preferences.job_folder = bench.preferences.job_folder, self.folder / "jobs"
        try:
            learning.start(steps=4, epoch_steps=2, views=2)
        finally:
            bench.preferences.job_folder = usual
        self.test.assertTrue(learning.running)
        bench.go_to(self.first)
        bench.prompter.add_point(self._ras(self.first.index, *self._pixel()), axis=AXIS)
        self._answered()
        self.test.assertTrue(learning.running)
        bench.prompter.clear()
        self._wait(lambda: not learning.running, "the end of the adaptation", 900.0)
        self.test.assertEqual(learning.status.state, "done", learning.status.message)
        self.test.assertTrue(learning.evidence["classes"])

    def export(self) -> None:
        """Export, read by SimpleITK"""
        import SimpleITK as sitk

        work = self.bench.work
        written = export(work, self.folder, "self_test", model=self.bench.state.model)
        self.test.assertTrue(all(path.stat().st_size for path in written.paths))
        read = sitk.ReadImage(str(self.folder / "self_test.nii.gz"))
        expected = np.zeros(work.volume.shape, dtype=np.uint8)
        for value, segment in enumerate(segment_ids(work.segmentation_node), start=1):
            expected[self._mask(segment)] = value
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read), expected)
        np.testing.assert_allclose(read.GetSpacing(), work.volume.spacing, atol=1e-4)
        origin = work.volume.ijk_to_ras[:3, 3] * (-1, -1, 1)
        np.testing.assert_allclose(read.GetOrigin(), origin, atol=1e-3)

    def save_and_reload(self) -> None:
        """Save the scene, close it, and open it again"""
        bench = self.bench
        bench.go_to(self.first)
        bench.prompter.add_point(self._ras(self.first.index, *self._pixel()), axis=AXIS)
        self._answered()
        before, annotated, queued = self._mask(), bench.propagation.annotated(), bench.review.entries
        bench.save()
        file = str(self.folder / "scene.mrb")
        self.test.assertTrue(slicer.mrmlScene.WriteToMRB(file))
        slicer.mrmlScene.Clear(0)
        self.test.assertIsNone(bench.work)
        self.test.assertTrue(slicer.mrmlScene.ReadFromMRB(file, True))
        self._wait(lambda: bench.work is not None, "the saved scene")
        np.testing.assert_array_equal(self._mask(), before)
        self.test.assertEqual(bench.propagation.annotated(), annotated)
        self.test.assertEqual(bench.review.entries, queued)
        self.test.assertEqual(len(bench.prompter.prompts()), 1)
        self._answered()

    def close_in_the_middle(self) -> None:
        """Close the scene in the middle of work"""
        bench = self.bench
        bench.prompter.clear()
        bench.propagation.start(PropagationOptions(method="propagate", measure=False))
        slicer.mrmlScene.Clear(0)
        self._wait(lambda: not bench.propagation.running, "the end of the propagation")
        self.test.assertIsNone(bench.work)
        with suppress(slicer.util.MRMLNodeNotFoundException):
            slicer.util.getNode(NAME)
            self.test.fail("The volume is still there.")
        try_it(bench)
        self._answered()
        self.test.assertIsNotNone(bench.prompter.candidates)
        slicer.mrmlScene.Clear(0)

    # What the steps share

    def _preview(self) -> np.ndarray:
        candidates = self.bench.prompter.candidates
        self.test.assertIsNotNone(candidates)
        return np.asarray(candidates.mask) != 0

    def _mask(self, segment: str | None = None) -> np.ndarray:
        work = self.bench.work
        return segment_mask(work.segmentation_node, segment or self.bench.prompter.segment, work.volume)

    def _pixel(self) -> tuple[int, int]:
        position = phantom_prompts(self.phantom)[0].prompts[0].position
        _, row, col = np.floor(self.bench.work.volume.ras_to_slice(np.array([position]), AXIS)[0] + 0.5).astype(int)
        return int(row), int(col)

    def _ras(self, index: int, row: int, col: int) -> tuple[float, float, float]:
        x, y, z = self.bench.work.volume.slice_to_ras(np.array([[index, row, col]], dtype=np.float64), AXIS)[0]
        return float(x), float(y), float(z)

    def _answered(self) -> None:
        self._wait(lambda: not self.bench.prompter.waiting, "the model's answer")

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self.test.assertLess(time.monotonic(), end, f"{what} did not come within {seconds:.0f} s")
            slicer.app.processEvents()
            time.sleep(0.01)
