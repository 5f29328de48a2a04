"""Starting a job in a process of its own that outlives the one that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.jobs.folder import JobFolder
from SAMFinetuneLogic.priority import popen_options

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]


def launch(folder: JobFolder, python: Path | None = None) -> None:
    """Start, or go on with, a job in the background; returns once its process works on it.

    The process belongs to no terminal and holds no pipe of ours: closing Slicer or the terminal leaves it alive.

    Args:
        folder: of a job that no process works on; of a job that is done, nothing happens.
        python: the interpreter; None for this one. Inside Slicer, PythonSlicer.

    Raises:
        InputError: there is no job, it is damaged, or a process works on it already.
        OutputError: the log cannot be written, or the process could not be started.
    """
    description = folder.read_description()
    if folder.is_alive:
        raise InputError(f"A process works on {folder.path} already: follow it with 'samfinetune jobs watch'.")
    if folder.read_status().state == "done":
        return
    folder.forget_cancel()
    before = _mark(folder)
    command = [str(python or sys.executable), "-m", "SAMFinetuneLogic.jobs.process", str(folder.path)]
    try:
        with folder.log_file.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(description.threads),
                cwd=folder.path,
                **popen_options(detached=True),
            )
    except OSError as error:
        raise OutputError(f"Cannot start the job in {folder.path}: {error.strerror or error}.") from error
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        # Its own status, or the lock of whoever was faster: in both cases somebody works on it.
        if folder.is_alive or _mark(folder) != before:
            return
        if process.poll() is not None:
            raise OutputError(f"The job in {folder.path} ended at once; its log.txt says why.")
        time.sleep(_POLL_SECONDS)
    raise OutputError(f"The job in {folder.path} did not start within a minute; its log.txt may say why.")


def kill(folder: JobFolder) -> None:
    """End the job's process at once. The last checkpoint stays; a job without a process is left alone."""
    pid = folder.read_status().pid
    if pid and folder.is_alive:
        # On Windows every signal but Ctrl-C and Ctrl-Break ends the process unconditionally.
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _mark(folder: JobFolder) -> tuple[int, int]:
    """Changes once a process has reported."""
    try:
        found = folder.events_file.stat()
    except OSError:
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)


def _environment(threads: int) -> dict[str, str]:
    environment = dict(os.environ)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(_PACKAGE_PARENT), *([inherited] if inherited else [])])
    environment["PYTHONUTF8"] = environment["PYTHONUNBUFFERED"] = "1"
    environment["OMP_NUM_THREADS"] = str(threads)
    # Threads that spin while they wait take the core that is left for the user.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return environment
