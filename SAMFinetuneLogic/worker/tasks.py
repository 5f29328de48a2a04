"""A request on its way to the model and back, and what a client tells its user."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from SAMFinetuneLogic.worker.requests import Request

OnDone = Callable[[Any], None]
OnFailure = Callable[[Exception], None]
OnProgress = Callable[[int, int], None]
ClientState = Literal["stopped", "starting", "loading", "ready", "failed"]
TaskState = Literal["waiting", "running", "done", "failed", "cancelled", "superseded"]


@dataclass(frozen=True)
class Notice:
    """Something that the user should know and that belongs to no single request.

    Attributes:
        text: one sentence.
        details: for the log and for "copy details".
        restarted: whether the process was started anew; what it had encoded in memory is gone.
    """

    text: str
    details: str = ""
    restarted: bool = False


@dataclass(eq=False)
class Task:
    """A request on its way.

    Attributes:
        request: what was asked.
        stop: how its client cancels it.
        on_done, on_failure, on_progress: called by ``poll``.
        topic: a newer prediction of the same topic takes this one's place.
        state: where it is; no callback follows a "superseded" one.
        answer: once done.
        error: once failed; ``__notes__`` of an error in another process ends with its traceback.
        progress: (done, total) of long work.
        times: milliseconds of each stage, once it is done.
        attempts: how many processes it has brought down, or seen go down.
    """

    request: Request
    stop: "Callable[[Task], None]"
    on_done: OnDone | None = None
    on_failure: OnFailure | None = None
    on_progress: OnProgress | None = None
    topic: object = None
    state: TaskState = "waiting"
    answer: Any = None
    error: Exception | None = None
    progress: tuple[int, int] = (0, 0)
    times: Mapping[str, float] = field(default_factory=dict)
    attempts: int = 0
    submitted: float = field(default_factory=time.perf_counter)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("waiting", "running")

    def cancel(self) -> None:
        """Stop it. Clicks, encoding and loading end without a callback; long work calls ``on_failure(Cancelled)``."""
        if not self.finished:
            self.stop(self)
