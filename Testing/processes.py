"""Looking at other processes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not count where that can be seen."""
    if sys.platform == "win32":  # where os.kill(pid, 0) is Ctrl-C
        import _winapi

        try:
            handle = _winapi.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
        except OSError:
            return False
        try:
            return _winapi.WaitForSingleObject(handle, 0) == 0x102  # WAIT_TIMEOUT
        finally:
            _winapi.CloseHandle(handle)
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.is_file() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def refused_starts_on_windows(monkeypatch: Any) -> list[dict[str, Any]]:
    """Let Windows refuse to start processes; the options that it was asked with are added to the list."""
    asked: list[dict[str, Any]] = []

    def refuse(_command: Any, **options: Any) -> None:
        asked.append(options)
        raise FileNotFoundError(2, "No such file")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "Popen", refuse)
    return asked
