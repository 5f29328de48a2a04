"""Looking at other processes."""

import os
import sys
from pathlib import Path


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
