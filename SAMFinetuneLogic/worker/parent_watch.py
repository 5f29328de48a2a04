"""For a process that shall end with the one that started it, however that one ends."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_LOOK_SECONDS = 0.2


def end_with_parent(end: Callable[[], object]) -> None:
    """Call ``end`` in a thread once standard input, a pipe from the parent, is closed; returns at once.

    With a launcher between the two, such as PythonSlicer, the pipe is the parent's all the same. By its file
    descriptor: at its end Python wants to close ``sys.stdin``, and cannot while a thread reads from it.
    """

    def watch() -> None:
        try:
            _wait_for_the_end_of_input()
        finally:
            end()

    threading.Thread(target=watch, daemon=True).start()


def _wait_for_the_end_of_input() -> None:
    if sys.platform == "win32":
        # While a read waits, Windows holds up all else that is done with the pipe. Libraries ask of what kind it is
        # when they are loaded: importing scipy would never end, see https://github.com/numpy/numpy/issues/24290.
        import _winapi
        import msvcrt

        handle = msvcrt.get_osfhandle(0)
        with suppress(OSError):
            while True:
                _winapi.PeekNamedPipe(handle, 0)
                time.sleep(_LOOK_SECONDS)
    else:
        while os.read(0, 1):
            pass
