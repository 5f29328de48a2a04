"""An event loop that keeps Python's interpreter lock while it waits, as Slicer's does.

PySide6 gives the lock back when it enters Qt. Here Qt is entered through ``ctypes.PyDLL``, which keeps it: a Python
thread gets no turn while the loop is idle, so that code which works here does not depend on one. Where Python's own
search for garbage is off, so that no thread destroys Qt's objects (``main_thread_garbage.py``), the loop searches.
"""

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import PySide6
import PySide6.QtCore as QtCore

_WAIT_FOR_MORE_EVENTS = 0x04
_PROCESS_EVENTS = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"


def _load() -> Callable[[int], None]:
    library = Path(PySide6.__file__).parent / "Qt" / "lib" / "libQt6Core.so.6"
    function = getattr(ctypes.PyDLL(str(library)), _PROCESS_EVENTS)
    function.argtypes, function.restype = [ctypes.c_int], None
    return function


_process_events = _load()


def process_events(wait: bool = False) -> None:
    """One round of the event loop; with ``wait``, sleep in Qt until there is an event, keeping the lock."""
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    _process_events(_WAIT_FOR_MORE_EVENTS if wait else 0)
    if not gc.isenabled():
        _collect_what_is_due()


def _collect_what_is_due() -> None:
    """What Python itself would do now: the oldest generation whose count is above its threshold, with the younger."""
    due = [
        number
        for number, limits in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
        if limits[0] > limits[1] > 0
    ]
    if due:
        gc.collect(due[-1])


def run_for(seconds: float) -> None:
    """Run the event loop for a while."""
    end = time.monotonic() + seconds
    run_until(lambda: time.monotonic() >= end, seconds + 5.0)


def run_until(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Run the event loop until ``condition`` holds; returns whether it does. It is asked every 5 ms."""
    ticker = QtCore.QTimer()
    ticker.start(5)
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        process_events(wait=True)
    return True
