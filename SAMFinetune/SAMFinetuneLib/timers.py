"""Timers that do not keep alive what they call."""

import weakref
from collections.abc import Callable
from typing import Any

import qt


def make_timer(action: Callable[[], object], interval_ms: int, once: bool = False) -> Any:
    """A QTimer, not started, that calls a method.

    The method's object is held weakly: Qt keeps what a signal is connected to, unseen by Python's garbage collector,
    and an object that owns the timer would never go.

    Args:
        action: a bound method.
        once: stop after each call.
    """
    timer, known = qt.QTimer(), weakref.WeakMethod(action)

    def react() -> None:
        method = known()
        if method is not None:
            method()

    timer.setSingleShot(once)
    timer.setInterval(interval_ms)
    timer.connect("timeout()", react)
    return timer
