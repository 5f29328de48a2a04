"""Adapts the model to the annotated slices in the background: what stands behind the Learn section.

A job is a folder that a process of its own works on; it goes on when Slicer is closed, and is found again. Here it is
only made, followed and asked to stop: nothing waits for it.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.job_list import JobList
from SAMFinetuneLib.preferences import Preferences
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.python_process import python_command, python_environment
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.finetuning.strategy import Mode
from SAMFinetuneLogic.jobs.folder import LIVE, JobFolder, Status
from SAMFinetuneLogic.mrml.annotated import annotated_slices
from SAMFinetuneLogic.mrml.segments import segment_ids

POLL_MS = 400
RECOMMENDED = "lora-encoder-decoder"
MIN_SLICES = 3
"""Fewer annotated slices leave nothing to learn from once some are held out."""

_LAUNCH = (
    "import sys; from pathlib import Path; from SAMFinetuneLogic.jobs.folder import JobFolder; "
    "from SAMFinetuneLogic.jobs.launching import launch; launch(JobFolder(Path(sys.argv[1])))"
)


@dataclass(frozen=True)
class Point:
    """The curve at a step; figures that are not known yet are None."""

    step: int
    loss: float | None
    dice: float | None


class Learning:
    """Starts, follows and cancels adaptation jobs, and switches adapters on and off.

    Args:
        apply_adapter: loads the model anew with the chosen adapter.

    Attributes:
        changed: emitted when a job comes forward, ends, or another adapter is in use.
        failed: emitted with an exception.
        job: the job that is shown, or None.
        status: of that job.
        curve: its losses and validation Dice so far.
        evidence: the gate's answer (``finetuning.gate.Evidence.to_dict``), or None.
        adapter: the folder of the adapter in use; None for the base model.
        chosen: whether the user has chosen it since the scene was opened; then it stays when the volume is switched.
        jobs: what is known of all jobs on this computer.
        notices: sentences on what the last job that was started could not learn from.

    Example:
        >>> learning = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.learning
        >>> learning.start()
        >>> learning.use(learning.job)      # once it is done; learning.use(None) for the base model
    """

    def __init__(
        self,
        inference: Inference,
        prompter: Prompter,
        preferences: Preferences,
        model: Callable[[], str],
        apply_adapter: Callable[[], None],
    ) -> None:
        self.changed = Signal()
        self.failed = Signal()
        self.job: JobFolder | None = None
        self.status: Status | None = None
        self.curve: list[Point] = []
        self.evidence: dict[str, Any] | None = None
        self.adapter: Path | None = None
        self.chosen = False
        self.jobs = JobList()
        self.notices: tuple[str, ...] = ()
        self._inference, self._prompter, self._preferences = inference, prompter, preferences
        self._model, self._apply_adapter = model, apply_adapter
        self._tail: Any = None
        self._launcher: subprocess.Popen[bytes] | None = None
        self._timer = make_timer(self.poll, POLL_MS)

    @property
    def running(self) -> bool:
        """Whether the job that is shown is at work, or about to be."""
        return self._launcher is not None or (self.status is not None and self.status.state in LIVE)

    def annotated(self) -> tuple[int, ...]:
        """The slices that a job would learn from: annotated for all segments that have annotations."""
        work, axis = self._prompter.work, self._prompter.slice.axis
        found = [
            set(indices)
            for segment in segment_ids(work.segmentation_node)
            if (indices := annotated_slices(work.segmentation_node, segment, work.volume, axis))
        ]
        return tuple(sorted(set.intersection(*found))) if found else ()

    def start(self, strategy: str = RECOMMENDED, mode: Mode = "prompts", **changes: Any) -> JobFolder:
        """Freeze the annotated slices into a job folder and start the job; returns at once.

        Args:
            strategy: such as "lora-encoder-decoder" or "adapter-decoder".
            mode: "prompts" makes clicks and boxes better answered; "automatic" segments whole volumes without any.
            changes: of the loop's settings (``LoopSettings``), such as ``steps=50``; by default it is recommended how
                long the job lasts.

        Raises:
            InputError: a job runs, too few slices are annotated, or the model is not loaded.
            OutputError: the job folder cannot be written.
        """
        from SAMFinetuneLogic.finetuning.labelled_slices import labelled_slices
        from SAMFinetuneLogic.finetuning.schedule import settings_for
        from SAMFinetuneLogic.finetuning.splitting import split
        from SAMFinetuneLogic.finetuning.strategy import parse_strategy
        from SAMFinetuneLogic.jobs.creating import FinetuneRequest, create_finetune_job
        from SAMFinetuneLogic.mrml.training import training_labels

        if self.running:
            raise InputError("An adaptation is running: wait for it, or cancel it first.")
        if self._inference.info is None:
            raise InputError("The model is not loaded yet: wait for it, or look at its state under Input.")
        work, axis = self._prompter.work, self._prompter.slice.axis
        labels = training_labels(work.segmentation_node, work.volume, axis)
        if len(labels.indices) < MIN_SLICES:
            few = f"Annotate at least {MIN_SLICES} slices first: some are held out to judge the result."
            raise InputError(" ".join((few, *labels.notices)))
        automatic = mode == "automatic"
        data = labelled_slices(work.volume, labels.labels, work.window, axis, labels.indices, turned=automatic)
        data = replace(data, images=("image 1",))  # the volume's name may be the patient's
        chosen, parts = parse_strategy(strategy), split(data)
        request = FinetuneRequest(
            model=self._model(),
            model_sha256=self._inference.info.sha256,
            strategy=chosen,
            mode=mode,
            settings=settings_for(chosen.preset, len(parts.train), mode, **changes),
            device=self._preferences.device,
        )
        folder = self._preferences.job_folder / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        number = 2
        while folder.exists():
            folder, number = folder.with_name(f"{folder.name.split('~')[0]}~{number}"), number + 1
        job = create_finetune_job(folder, data, request, parts)
        self.notices = labels.notices
        self.watch(job)
        self._launch(job)
        return job

    def resume(self) -> None:
        """Go on with a job that was stopped or killed, from its last checkpoint.

        Raises:
            InputError: there is no such job.
        """
        if self.job is None or self.running or (self.status is not None and self.status.state == "done"):
            raise InputError("There is no stopped job to go on with.")
        self._launch(self.job)

    def cancel(self) -> None:
        """Ask the job to stop; its last checkpoint stays."""
        if self.job is not None and self.running:
            self.job.ask_to_cancel()

    def watch(self, job: JobFolder | None) -> None:
        """Show another job, or none."""
        from SAMFinetuneLogic.jobs.watching import EventTail

        self.job, self.status, self.curve, self.evidence = job, None, [], None
        self._tail = None if job is None else EventTail(job)
        self.poll()

    def find_running(self) -> None:
        """Take up a job that goes on since an earlier session, and what other programs have finished meanwhile."""
        running = self.jobs.running() if self.job is None else None
        if running is not None:
            self.watch(running)
        else:
            self.changed.emit()

    @property
    def model(self) -> str:
        """Id of the model that is chosen."""
        return self._model()

    def finished(self, mode: Mode = "prompts") -> list[JobFolder]:
        """The jobs on this computer that made an adapter of this mode for the chosen model, the newest first."""
        return self.jobs.finished(self._model(), mode)

    def use(self, job: JobFolder | None) -> None:
        """Answer prompts with a job's adapter, or with the base model. Any earlier choice can be taken up again.

        Raises:
            InputError: the job has made no adapter, or one that takes no prompts.
        """
        adapter = None if job is None else job.adapter
        if adapter is not None and not adapter.is_dir():
            raise InputError("This job has made no adapter: wait for its end, or choose another one.")
        if job is not None and job.read_description().work.get("mode") == "automatic":
            raise InputError("This adapter takes no prompts: choose it under Apply to segment whole volumes.")
        self.chosen = True
        if adapter != self.adapter:
            self.adapter = adapter
            self._apply_adapter()
            self.changed.emit()

    def forget(self) -> None:
        """Go back to the base model, and show no finished job: the scene is being closed. A running job stays shown."""
        self.adapter, self.chosen, self.notices = None, False, ()
        if not self.running:
            self.watch(None)

    def poll(self) -> None:
        """Read what the job has written since the last look."""
        if self.job is None:
            self._timer.stop()
            self.changed.emit()
            return
        before = self.status
        self._look_at_launcher()
        self.status = self.job.read_status()
        for event in self._tail.read():
            self._hear(event)
        if self.running:
            self._timer.start()
        else:
            self._timer.stop()
        if self.status != before or not self.running:
            self.changed.emit()

    def close(self) -> None:
        """Stop following; the job goes on."""
        self._timer.stop()

    def _hear(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "step":
            self.curve.append(Point(int(event["step"]), event.get("loss"), None))
        elif kind == "epoch" and event.get("validation_dice") is not None:
            step = self.curve[-1].step if self.curve else 0
            self.curve.append(Point(step, None, float(event["validation_dice"])))
        elif kind == "verdict":
            self.evidence = event

    def _launch(self, job: JobFolder) -> None:
        flags = subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
        self._launcher = subprocess.Popen(
            [*python_command(), "-c", _LAUNCH, str(job.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=python_environment(),
            creationflags=flags,
        )
        self._timer.start()
        self.changed.emit()

    def _look_at_launcher(self) -> None:
        if self._launcher is not None and self._launcher.poll() is not None:
            code, self._launcher = self._launcher.returncode, None
            if code and self.job is not None:
                self.failed.emit(OutputError(f"The job in {self.job.path} did not start; its log.txt may say why."))
