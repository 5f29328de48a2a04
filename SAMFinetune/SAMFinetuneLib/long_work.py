"""One long request to the model at a time, with progress and cancel. No Qt."""

from collections.abc import Callable
from typing import Any

from SAMFinetuneLib.inference import OnDone, OnFailure, OnProgress
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.worker.tasks import Task

Ask = Callable[[OnProgress, OnDone, OnFailure], Task]
"""Sends the request, with the callbacks that it is given."""


class LongWork:
    """Work of one or several requests, one after the other; it is running from :meth:`begin` to :meth:`end`.

    Attributes:
        changed: emitted when work begins, comes forward, or ends.
        failed: emitted with the exception that work ended in.
        doing: a few words on what is done now; empty while nothing is.
        done, total: units of the present request.
    """

    def __init__(self) -> None:
        self.changed = Signal()
        self.failed = Signal()
        self.doing = ""
        self.done = self.total = 0
        self._run: object | None = None
        self._task: Task | None = None
        self._on_stop: Callable[[], None] = _nothing

    @property
    def running(self) -> bool:
        """Whether work goes on."""
        return self._run is not None

    def begin(self, on_stop: Callable[[], None] | None = None) -> None:
        """Claim the place.

        Args:
            on_stop: called when the user cancels. Between two requests, the work itself has to :meth:`end` then.

        Raises:
            InputError: other work goes on.
        """
        if self.running:
            raise InputError("The collection is busy: wait for it, or cancel first.")
        self._run, self._on_stop = object(), on_stop or _nothing

    def ask(self, doing: str, ask: Ask, on_done: OnDone) -> None:
        """Send one request. If it or ``on_done`` fails, the work ends."""
        run = self._run
        self.doing, self.done, self.total = doing, 0, 0

        def progress(done: int, total: int) -> None:
            if self._run is run:
                self.done, self.total = done, total
                self.changed.emit()

        def answered(answer: Any) -> None:
            if self._run is run:
                self._task = None
                try:
                    on_done(answer)
                except Exception as error:  # a node may be gone by now
                    self.fail(error)

        def failed(error: Exception) -> None:
            if self._run is run:
                self.fail(error)

        try:
            self._task = ask(progress, answered, failed)
        except Exception:
            self.end()
            raise
        self.changed.emit()

    def say(self, doing: str, done: int, total: int) -> None:
        """Report what is done without a request."""
        self.doing, self.done, self.total = doing, done, total
        self.changed.emit()

    def fail(self, error: Exception) -> None:
        """End in an error."""
        self.end()
        self.failed.emit(error)

    def cancel(self) -> None:
        """Stop on the user's word."""
        if not self.running:
            return
        task = self._task
        self._on_stop()
        if task is not None:
            task.cancel()
            self.end()

    def end(self) -> None:
        """Nothing goes on any more."""
        self._run = self._task = None
        self._on_stop = _nothing
        self.say("", 0, 0)


def _nothing() -> None:
    pass
