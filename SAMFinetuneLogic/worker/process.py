"""Starting the inference process, meeting it, and ending it; nothing waits."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.priority import popen_options
from SAMFinetuneLogic.worker.link import Greeting, Link

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_LOG_BYTES = 20_000
_END_SECONDS = 1.0
START_SECONDS = 90.0
_LOOK_SECONDS = 1.0
"""What counts at most of the time between two looks: the computer may sleep, or the user interface be busy."""


def python_executable() -> str:
    """PythonSlicer inside 3D Slicer, whose own executable is no interpreter; else this interpreter.

    Raises:
        ModelError: Slicer has none.
    """
    application = getattr(sys.modules.get("slicer"), "app", None)
    if application is None:
        return sys.executable
    folder = Path(str(getattr(application, "slicerHome", ""))) / "bin"
    found = shutil.which("PythonSlicer") or shutil.which("PythonSlicer", path=str(folder))
    if found is None and "python" in Path(sys.executable or "").name.lower():  # Slicer's Python, started without Slicer
        found = sys.executable
    if found is None:
        raise ModelError(f"PythonSlicer is neither on the PATH nor in {folder}: install Slicer again.")
    return found


class ChildProcess:
    """One run of ``python -m SAMFinetuneLogic.worker``.

    Attributes:
        link: to it, once it has shown that it is the one that was started.
        pid: of the interpreter, once it has said so; with PythonSlicer it is a child of what was started.

    Raises:
        ModelError: there is no interpreter.
        OSError: it cannot be started.
    """

    def __init__(self, python: str | None = None) -> None:
        command = [python or python_executable(), "-m", "SAMFinetuneLogic.worker"]
        self.link: Link | None = None
        self.pid: int | None = None
        self._key = secrets.token_bytes(32)
        self._greetings: list[Greeting] = []
        self._looked, self._waited = time.monotonic(), 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        handle, name = tempfile.mkstemp(prefix="samfinetune-worker-", suffix=".log")
        self._log = Path(name)
        try:
            with open(handle, "wb") as log:  # closed before it is removed: Windows removes no open file
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=child_environment(),
                    **popen_options(),
                )
        except OSError:
            self._listener.close()
            self._log.unlink(missing_ok=True)
            raise
        facts = {"port": self._listener.getsockname()[1], "key": self._key.hex()}
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone already, which the next look finds out
            self._process.stdin.write(json.dumps(facts).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def ended(self) -> bool:
        """Whether the process is gone, and all that it has sent is read."""
        return self._process.poll() is not None if self.link is None else self.link.closed

    @property
    def overdue(self) -> bool:
        """Whether it has not shown itself for :data:`START_SECONDS` in which it was looked for."""
        return self.link is None and self._waited > START_SECONDS

    def meet(self) -> Link | None:
        """The link, as soon as there is one."""
        if self.link is not None:
            return self.link
        now = time.monotonic()
        self._waited += min(now - self._looked, _LOOK_SECONDS)
        self._looked = now
        with suppress(BlockingIOError, InterruptedError):
            connection, _ = self._listener.accept()
            self._greetings.append(Greeting(connection, self._key, secrets.token_bytes(32)))
        for greeting in self._greetings:
            if self.link is None and greeting.advance():
                self.link = greeting.link
        if self.link is not None:
            self._listener.close()
            for greeting in self._greetings:
                if greeting.link is not self.link:
                    greeting.link.close()
            self._greetings.clear()
        return self.link

    def log_text(self) -> str:
        """The end of what the process has written."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - _LOG_BYTES))
                return stream.read().decode("utf-8", errors="replace")
        except OSError:
            return ""

    def how_it_ended(self) -> str:
        """For the user, such as "exit code 1"."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)  # the connection goes a moment before the process
        code = self._process.returncode
        if code is None:
            return "its connection broke"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def what_to_do(self, how: str) -> str:
        """A sentence for the user about a process that ended like this, or is overdue and about to be ended."""
        if self.overdue:
            return (
                f"The model's process did not answer within {START_SECONDS:.0f} s of its start and was ended: see "
                "whether a security program holds it back, and try again."
            )
        return (
            f"The model's process ended unexpectedly ({how}): close other programs or choose a smaller model, "
            "and try again."
        )

    def stop(self) -> None:
        """End it: without client and input it leaves by itself; if it does not within a second, it is made to."""
        self._listener.close()
        for greeting in self._greetings:
            greeting.link.close()
        if self.link is not None:
            self.link.close()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            if self.pid is not None:
                with suppress(OSError):
                    os.kill(self.pid, signal.SIGTERM)  # on Windows this is TerminateProcess
            self._process.kill()
            self._process.wait()
        with suppress(OSError):
            self._log.unlink(missing_ok=True)


def child_environment() -> dict[str, str]:
    """This environment, in which the process finds this package and no module of the folder it is started in."""
    paths = [str(_PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads of several processes slow each other
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }
