"""A job as a folder: everything that is known about it lies there, so that any process can follow it.

========================= ==========================================================================
``job.json``              what is to be done
``data/``                 frozen snapshot of slices, labels, window and split
``events.jsonl``          progress, losses and scores, one JSON object a line, only ever appended to
``status.json``           where it stands: state, process, heartbeat; replaced as a whole
``log.txt``               what the process printed
``cancel``                its presence asks the job to stop
``checkpoint.pt``         from where it resumes
``adapter/``              the result of fine-tuning
``model.safetensors``     a new base: the result of pre-training, or of fine-tuning where asked for
``curves.png``            loss and Dice over the steps
========================= ==========================================================================

The folder contains image slices: treat it as you treat the images.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.files import read_replaced, write_json
from SAMFinetuneLogic.jobs.locks import FileLock, is_locked

State = Literal["prepared", "queued", "running", "judging", "done", "cancelled", "failed", "killed"]
LIVE: tuple[State, ...] = ("queued", "running", "judging")
FINETUNE, PRETRAIN = "finetune", "pretrain"
CHECKPOINT = "checkpoint.pt"
STOPPED = "Stopped on request; resume it to go on from the last checkpoint."
KILLED = "The process ended without a word; resume it to go on from the last checkpoint."
VERSION = 1


@dataclass(frozen=True)
class JobDescription:
    """What a job is to do; ``job.json``.

    Attributes:
        kind: :data:`FINETUNE`, or :data:`PRETRAIN` for self-supervised pre-training.
        model: id of the catalogue or path of a checkpoint file.
        model_sha256: of its file; a job is not continued on another one.
        device: as asked for.
        threads: of torch on the CPU: the same number gives the same result after a resume.
        work: of the kind: strategy, mode, settings.
        images: their names.
        created: UTC, ISO 8601.
        version: of this layout.
    """

    kind: str
    model: str
    model_sha256: str
    device: str
    threads: int
    work: dict[str, Any]
    images: list[str]
    created: str
    version: int = VERSION


@dataclass(frozen=True)
class Status:
    """Where a job stands; ``status.json``.

    Attributes:
        state: of the job. "killed" is not written but concluded: it says it runs, and no process does; so is
            "cancelled" where the process was ended at once.
        pid: of the process that wrote it.
        heartbeat: time of writing, seconds since 1970.
        step, steps: done and to do.
        loss, dice, validation_dice: the latest.
        seconds: of training so far; seconds_left: as far as can be told.
        message: a sentence for the user.
        verdict: of the gate, once there is one.
    """

    state: State
    pid: int = 0
    heartbeat: float = 0.0
    step: int = 0
    steps: int = 0
    loss: float | None = None
    dice: float | None = None
    validation_dice: float | None = None
    seconds: float = 0.0
    seconds_left: float | None = None
    message: str = ""
    verdict: str | None = None


class JobFolder:
    """The files of a job.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self.data = self.path / "data"
        self.adapter = self.path / "adapter"
        self.events_file = self.path / "events.jsonl"
        self.log_file = self.path / "log.txt"
        self.model_file = self.path / "model.safetensors"
        self.curves_file = self.path / "curves.png"
        self._description = self.path / "job.json"
        self._status = self.path / "status.json"
        self._cancel = self.path / "cancel"
        self._lock = self.path / "lock"

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def exists(self) -> bool:
        """Whether there is a job in the folder."""
        return self._description.exists()

    @property
    def is_alive(self) -> bool:
        """Whether a process works on it. The process's lock tells: its number may be another program's by now."""
        return is_locked(self._lock)

    def lock(self) -> FileLock:
        """The lock that the working process holds."""
        return FileLock(self._lock)

    def check_free(self) -> None:
        """Whether a new job can be made here.

        Raises:
            OutputError: the folder holds a job already, or something else: names like ``log.txt`` are easily taken.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is a file: choose a folder for the job.")
        ours = (self.data.name, self._lock.name)  # left behind where making a job was interrupted
        entries = list(self.path.iterdir()) if self.path.exists() else []  # before asking: a job may appear meanwhile
        if self.exists:
            raise OutputError(
                f"{self.path} holds a job already: choose another folder, or go on with it by "
                f"'samfinetune jobs resume'."
            )
        if any(entry.name not in ours and not entry.name.startswith(".") for entry in entries):
            raise OutputError(f"{self.path} holds other files: choose a new folder for the job.")

    def write_description(self, description: JobDescription) -> None:
        """Write ``job.json``, the last file of a new job: without it there is no job."""
        self.check_free()
        write_json(self._description, asdict(description), overwrite=False)

    def read_description(self) -> JobDescription:
        """Raises InputError where there is no job, or its description is damaged."""
        if not self.exists:
            raise InputError(f"There is no job in {self.path}: give the folder that was named by --job.")
        try:
            content = json.loads(self._description.read_text(encoding="utf-8"))
            description = JobDescription(**content)
            if not isinstance(description.work, dict) or not isinstance(description.model, str):
                raise TypeError("not a job")
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self._description} is damaged: start the job anew in another folder.") from error
        if description.version != VERSION:
            raise InputError(f"The job in {self.path} was made by another version of SAMFinetune: start it anew.")
        return description

    def write_status(self, status: Status) -> None:
        """Replace ``status.json``."""
        write_json(self._status, asdict(status))

    def read_status(self) -> Status:
        """The job's state, with "killed" or "cancelled" for a job that says it runs while no process does.

        A status that is missing or damaged says nothing about the job itself: it can be resumed.
        """
        status = self._stored_status()
        if status.state == "prepared" and self.is_alive:  # its process has begun, and not yet said so
            return replace(status, state="queued")
        if status.state not in LIVE or self.is_alive:
            return status
        status = self._stored_status()  # the process may have ended well between the two looks
        if status.state not in LIVE:
            return status
        asked = self.is_cancelled
        state: State = "cancelled" if asked else "killed"
        return replace(status, state=state, message=STOPPED if asked else KILLED, seconds_left=None)

    def _stored_status(self) -> Status:
        try:
            content = json.loads(read_replaced(self._status))
            known = {field.name for field in fields(Status)}
            return Status(**{name: value for name, value in content.items() if name in known})
        except FileNotFoundError:
            return Status("prepared")
        except (OSError, ValueError, TypeError, AttributeError):
            return Status("running", message="The status file is damaged.")

    def ask_to_cancel(self) -> None:
        """Raises OutputError where the folder cannot be written."""
        try:
            self._cancel.touch()
        except OSError as error:
            raise OutputError(f"Cannot write {self._cancel}: {error.strerror or error}.") from error

    def forget_cancel(self) -> None:
        self._cancel.unlink(missing_ok=True)

    @property
    def is_cancelled(self) -> bool:
        return self._cancel.exists()

    def events(self) -> Iterator[dict[str, Any]]:
        """All complete events so far. A line that a kill cut short is left out."""
        try:
            lines = self.events_file.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event
