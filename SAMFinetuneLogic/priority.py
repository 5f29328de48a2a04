"""Who goes first when several processes want the processor."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

BACKGROUND = 10
"""For training and other work of minutes."""

ASSISTANT = 5
"""For what answers the user, but must not hold up the user interface."""

_AUTOGROUP = Path("/proc/self/autogroup")

# Of the Windows API ("Process Creation Flags"); ``subprocess`` names them on Windows only.
_CREATE_NEW_PROCESS_GROUP = 0x00000200
_BELOW_NORMAL_PRIORITY_CLASS = 0x00004000
_CREATE_NO_WINDOW = 0x08000000


def popen_options(detached: bool = False) -> dict[str, Any]:
    """How ``subprocess.Popen`` starts a process that works behind the user interface.

    On Windows it gets a console that nobody sees, which the programs that it starts share, and lets other processes go
    first; a launcher between hands both on. Elsewhere the process steps back itself, see :func:`lower_priority`.

    Args:
        detached: it outlives who starts it, and a Ctrl-C there does not reach it.
    """
    if sys.platform == "win32":
        flags = _CREATE_NO_WINDOW | _BELOW_NORMAL_PRIORITY_CLASS
        return {"creationflags": flags | _CREATE_NEW_PROCESS_GROUP if detached else flags}
    return {"start_new_session": detached}


def lower_priority(steps: int = BACKGROUND) -> None:
    """Let other processes go first; where the system does not let us, nothing changes.

    Linux shares the processor out between terminal sessions first, where "autogroup" is on, as on most desktops, and a
    process's nice value counts only within its own session (sched(7)). A process that leads a session, as detached
    jobs do, therefore steps back with its whole session. On Windows, who starts a process sees to its priority:
    :func:`popen_options`.

    Args:
        steps: of the nice value, 1 to 19.
    """
    if not hasattr(os, "nice"):
        return
    with suppress(OSError):
        os.nice(steps)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            _AUTOGROUP.write_text(str(steps), encoding="ascii")
