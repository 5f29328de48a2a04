"""Who goes first when several processes want the processor."""

import os
from contextlib import suppress
from pathlib import Path

BACKGROUND = 10
"""For training and other work of minutes."""

ASSISTANT = 5
"""For what answers the user, but must not hold up the user interface."""

_AUTOGROUP = Path("/proc/self/autogroup")


def lower_priority(steps: int = BACKGROUND) -> None:
    """Let other processes go first; where the system does not let us, nothing changes.

    Linux shares the processor out between terminal sessions first, where "autogroup" is on, as on most desktops, and a
    process's nice value counts only within its own session (sched(7)). A process that leads a session, as detached
    jobs do, therefore steps back with its whole session. On Windows, who starts a process sees to its priority.

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
