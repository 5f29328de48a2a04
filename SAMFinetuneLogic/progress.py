"""How long work reports where it stands and learns that it should stop."""

from collections.abc import Callable
from typing import Protocol

from SAMFinetuneLogic.errors import Cancelled

CancelCheck = Callable[[], bool]
"""Returns True once the user has asked to stop."""


class ProgressCallback(Protocol):
    """Called after each finished unit of work."""

    def __call__(self, done: int, total: int) -> None: ...


def no_progress(done: int, total: int) -> None:
    """The callback for callers that do not want to hear about progress."""


def raise_if_cancelled(cancelled: CancelCheck | None) -> None:
    """Raise :class:`Cancelled` if the user has asked to stop."""
    if cancelled is not None and cancelled():
        raise Cancelled("Stopped on request.")
