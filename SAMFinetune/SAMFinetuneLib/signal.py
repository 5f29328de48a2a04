"""A signal in a few lines: who emits does not know who listens."""

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls its listeners in the order in which they connected.

    Example:
        >>> changed = Signal()
        >>> changed.connect(print)
        >>> changed.emit("a")
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[..., Any]] = []

    def connect(self, listener: Callable[..., Any]) -> None:
        """Call ``listener`` at each emission from now on."""
        self._listeners.append(listener)

    def disconnect(self, listener: Callable[..., Any]) -> None:
        """Stop calling ``listener``; nothing happens if it never was connected."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def emit(self, *arguments: Any) -> None:
        """Call the listeners. One that disconnects meanwhile is still called this time."""
        for listener in tuple(self._listeners):
            listener(*arguments)
