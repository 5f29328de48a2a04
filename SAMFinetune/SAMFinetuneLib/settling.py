"""Follows what may change many times a second: a transform that is dragged, a sequence that plays."""

from collections.abc import Callable

from SAMFinetuneLib.timers import make_timer

_QUIET_MS = 250


class Settling:
    """Follows a change at once; of further ones that come right after it, only what they have led to.

    Args:
        follow: does what a change needs; may take its time.

    Example:
        >>> settling.change()   # follows
        >>> settling.change()   # a moment later: follows once there is quiet, or at :meth:`now`
    """

    def __init__(self, follow: Callable[[], None]) -> None:
        self._follow = follow
        self._pending = False
        self._timer = make_timer(self.now, _QUIET_MS, once=True)

    def change(self, later: bool = False) -> None:
        """Something has changed.

        Args:
            later: it cannot be followed at this moment.
        """
        later = later or self._timer.isActive()
        self._pending = True
        if later:
            self._timer.start()
        else:
            self.now()

    def now(self) -> None:
        """Follow what is left to follow: somebody needs it."""
        if self._pending:
            self._pending = False
            self._follow()
            self._timer.start()

    def forget(self) -> None:
        """Nothing is to be followed any more."""
        self._pending = False
        self._timer.stop()
