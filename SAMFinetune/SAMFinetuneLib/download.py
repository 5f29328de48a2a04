"""Fetches a model's file in a process of its own, so that neither a slow line nor a full disk stops Slicer."""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from SAMFinetuneLib.python_process import python_command, python_environment
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLogic.errors import DownloadError
from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.store import ModelStore

_POLL_MS = 200
_END_SECONDS = 1.0
_BY_HAND = "put the file by hand into the offline folder"

_FETCH = """
import os, sys
from SAMFinetuneLogic.worker.parent_watch import end_with_parent
end_with_parent(lambda: os._exit(1))
from SAMFinetuneLogic.cli.main import main
sys.exit(main(["models", "get", sys.argv[1], "--quiet"]))
"""
"""Ends when its standard input does: what was started may be a launcher, whose child would go on without it."""


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
        self._timer = make_timer(self._poll, _POLL_MS)

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
        handle, name = tempfile.mkstemp(prefix="samfinetune-download-", suffix=".log")
        self._output = Path(name)
        flags = subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
        try:
            self._process = subprocess.Popen(
                [*python_command(), "-c", _FETCH, model_id],
                stdin=subprocess.PIPE,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env=python_environment(),
                creationflags=flags,
            )
        finally:
            os.close(handle)
            if self._process is None:  # it could not be started
                self._end()
        self._timer.start()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop; what has come stays for the next try."""
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(OSError):  # it has ended already
                self._process.stdin.close()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._end()
            self.changed.emit()

    def _poll(self) -> None:
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            if self._part is not None and self._bytes:
                with suppress(OSError):  # it is not there yet, or has its own name already
                    self.percent = min(99, int(100 * self._part.stat().st_size / self._bytes))
                self.changed.emit()
            return
        if code == 0:
            self.percent = 100
        else:
            self.error = DownloadError(self._said() or f"The download ended with code {code}: try it again.")
        self._end()
        self.changed.emit()

    def _said(self) -> str:
        """The last line of the process, with what to do in the words of the Input section."""
        from SAMFinetuneLogic.models.download import OFFLINE_HINT  # brings requests, too slow for opening the module

        assert self._output is not None
        lines = self._output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].replace(OFFLINE_HINT, _BY_HAND) if lines else ""

    def _end(self) -> None:
        self._timer.stop()
        self._process = None
        if self._output is not None:
            with suppress(OSError):
                self._output.unlink()
            self._output = None
