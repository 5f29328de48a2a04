"""Writes the segmentation to files: what stands behind the Export section.

In steps, a few slices at each turn of the event loop: the segments are copied when the export begins, so that the user
can go on meanwhile, even close the scene.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

from SAMFinetuneLib.export_plan import Exported, ExportPlan, Format, plan_export
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import Cancelled, InputError
from SAMFinetuneLogic.wording import some_slices


def export(
    work: Work, folder: Path, name: str, kind: Format = "nifti", overwrite: bool = False, model: str = ""
) -> Exported:
    """Write all segments on the volume's grid, and a JSON sidecar beside each file; returns when it is done.

    Args:
        name: the file's name without its suffix.
        model: id of the model that was used, for the sidecar.

    Raises:
        InputError: there are no segments, or the name cannot be one of a file.
        OutputError: a file exists and ``overwrite`` is False, or cannot be written.
    """
    plan = plan_export(work, folder, name, kind, overwrite, model)
    for _ in plan.write():
        pass
    return plan.exported()


class Exporting:
    """Runs one export at a time.

    Args:
        before: called before the segments are copied: they must not be half written then.
        model: gives the id of the chosen model.

    Attributes:
        changed: emitted when an export begins, comes forward, or ends.
        failed: emitted with the exception that an export ended in.
        done, total: steps; both 0 while nothing runs.
        result: what the last export wrote (``Exported``), or None.

    Example:
        >>> exporting = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.exporting
        >>> exporting.start(Path("/path/to/results"), "kidney")     # then, once exporting.running is False:
        >>> exporting.result.paths
    """

    def __init__(self, prompter: Prompter, before: Callable[[], None], model: Callable[[], str]) -> None:
        self.changed = Signal()
        self.failed = Signal()
        self.done = self.total = 0
        self.result: Exported | None = None
        self._prompter, self._before, self._model = prompter, before, model
        self._plan: ExportPlan | None = None
        self._steps: Generator[int] | None = None
        self._left_out = 0
        self._timer = make_timer(self._step, 0)

    @property
    def running(self) -> bool:
        """Whether files are being written."""
        return self._plan is not None

    def start(self, folder: Path, name: str, kind: Format = "nifti", overwrite: bool = False) -> None:
        """Write all segments as they are now; returns at once. See :func:`export`.

        Raises:
            InputError, OutputError: as :func:`export`; or an export is running.
        """
        if self.running:
            raise InputError("An export is running: wait for it, or cancel it first.")
        self._before()
        self.result = None
        self._plan = plan_export(self._prompter.work, folder, name, kind, overwrite, self._model())
        self._left_out = len(self._prompter.pending)
        self._steps, self.done, self.total = self._plan.write(), 0, self._plan.total
        self._timer.start()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop; no file is written or replaced."""
        if self.running:
            self._end()
            self.failed.emit(Cancelled("Stopped: nothing was written."))

    def finish(self) -> None:
        """Write what is left at once: the application is about to end."""
        while self.running:
            self._step()

    def _step(self) -> None:
        if self._plan is None or self._steps is None:
            return
        try:
            self.done = next(self._steps)
        except StopIteration:
            self.result = self._said(self._plan.exported())
            self._end()
        except Exception as error:
            self._end()
            self.failed.emit(error)
        else:
            self.changed.emit()

    def _said(self, written: Exported) -> Exported:
        if not self._left_out:
            return written
        notice = f"Not in the files: what is not accepted yet, on {some_slices(self._left_out)}."
        return replace(written, notice=" ".join((notice, written.notice or "")).strip())

    def _end(self) -> None:
        self._timer.stop()
        steps, self._plan, self._steps = self._steps, None, None
        if steps is not None:
            steps.close()  # takes half-written files away
        self.done = self.total = 0
        self.changed.emit()
