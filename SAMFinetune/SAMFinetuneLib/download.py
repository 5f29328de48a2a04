"""Fetches a model's file in a process of its own, so that neither a slow line nor a full disk stops Slicer."""

import subprocess
import sys
import tempfile
from pathlib import Path

import qt

from SAMFinetuneLib.python_process import python_command, python_environment
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLogic.errors import DownloadError
from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.store import ModelStore

_POLL_MS = 200


class ModelDownload:
    """One download at a time.

    Attributes:
        changed: emitted as it comes forward and at its end.
        percent: 0 to 100.
        error: what it ended in, or None.
    """

    def __init__(self) -> None:
        self.changed = Signal()
        self.percent = 0
        self.error: Exception | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: Path | None = None
        self._part: Path | None = None
        self._bytes = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def running(self) -> bool:
        """Whether a download goes on."""
        return self._process is not None

    def start(self, model_id: str) -> None:
        """Fetch a model into the model folder. What a stopped download has brought is not fetched again."""
        if self.running:
            return
        entry = find_entry(model_id)
        self.percent, self.error, self._bytes = 0, None, entry.bytes or 0
        self._part = ModelStore().folder / f"{entry.filename}.part"
        self._output = Path(tempfile.mkdtemp(prefix="samfinetune-")) / "download.txt"
        command = [*python_command(), "-m", "SAMFinetuneLogic.cli", "models", "get", model_id, "--quiet"]
        flags = subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=python_environment(),
                creationflags=flags,
            )
        self._timer.start()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop; what has come stays for the next try."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(5)
            self._end()
            self.changed.emit()

    def _poll(self) -> None:
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            if self._part is not None and self._bytes and self._part.is_file():
                self.percent = min(99, int(100 * self._part.stat().st_size / self._bytes))
                self.changed.emit()
            return
        if code == 0:
            self.percent = 100
        else:
            assert self._output is not None
            said = self._output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self.error = DownloadError(said[-1] if said else f"The download ended with code {code}: try it again.")
        self._end()
        self.changed.emit()

    def _end(self) -> None:
        self._timer.stop()
        self._process = None
