"""How a client's requests become tasks, and finished tasks callbacks."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.worker.requests import Request, is_long
from SAMFinetuneLogic.worker.tasks import ClientState, Notice, OnDone, OnFailure, OnProgress, Task
from SAMFinetuneLogic.worker.waiting import Waiting


class Submission(ABC):
    """What stands below the calls of :class:`SAMFinetuneLogic.worker.interface.InferenceClient`."""

    def __init__(self) -> None:
        self.on_notice: Callable[[Notice], None] | None = None
        self.state: ClientState = "stopped"
        self._waiting = Waiting()
        self._events: deque[tuple[Task | None, Callable[[], None]]] = deque()
        self._ahead: list[Task] = []
        self._topics: dict[object, Task] = {}

    @abstractmethod
    def _move_on(self) -> None:
        """Do what can be done now without waiting; called after each submission."""

    @abstractmethod
    def _drop(self, task: Task) -> None:
        """Take an unfinished task off the way; its answer is not wanted."""

    def _submit(
        self,
        request: Request,
        on_done: OnDone | None,
        on_failure: OnFailure | None,
        on_progress: OnProgress | None = None,
        topic: object = None,
    ) -> Task:
        """Put a request in the row; an unfinished one of the same topic, if it has one, is dropped for it."""
        task = Task(request, self._cancel, on_done, on_failure, on_progress, topic)
        if topic is not None:
            self._supersede(topic)
            self._topics[topic] = task
        self._waiting.add(task)
        self._move_on()
        return task

    def _supersede(self, topic: object) -> None:
        earlier = self._topics.get(topic)
        if earlier is not None and not earlier.finished:
            self._drop(earlier)
            earlier.state = "superseded"
            self._let_go(earlier)

    def _cancel(self, task: Task) -> None:
        self._drop(task)
        if is_long(task.request):
            self._fail(task, Cancelled("Stopped on request."))
        else:
            task.state = "cancelled"
            self._let_go(task)

    def _finish(self, task: Task, answer: Any, times: dict[str, float]) -> None:
        """Take an answer; the callback follows in :meth:`_deliver`."""
        if task.finished:
            return
        task.state, task.answer = "done", answer
        on_done = task.on_done

        def deliver() -> None:
            task.times = {**times, "total": 1000 * (perf_counter() - task.submitted)}
            if on_done is not None:
                on_done(answer)

        self._end(task, deliver)

    def _fail(self, task: Task, error: Exception) -> None:
        """Take an error; the callback follows in :meth:`_deliver`."""
        if task.finished:
            return
        task.state, task.error = "cancelled" if isinstance(error, Cancelled) else "failed", error
        on_failure = task.on_failure
        self._end(task, lambda: None if on_failure is None else on_failure(error))

    def _end(self, task: Task, deliver: Callable[[], None]) -> None:
        self._let_go(task)
        self._events.append((task, deliver))

    def _let_go(self, task: Task) -> None:
        """A callback holds windows and sessions; a finished task that someone keeps must not."""
        if self._topics.get(task.topic) is task:
            del self._topics[task.topic]
        task.on_done = task.on_failure = task.on_progress = None

    def _report(self, task: Task, done: int, total: int) -> None:
        """Take word of progress."""
        task.progress = (done, total)
        on_progress = task.on_progress
        if on_progress is not None and not task.finished:
            self._events.append((None, lambda: on_progress(done, total)))

    def _tell(self, notice: Notice) -> None:
        """Take a notice."""

        def deliver() -> None:
            if self.on_notice is not None:
                self.on_notice(notice)

        self._events.append((None, deliver))

    def _deliver(self) -> tuple[Task, ...]:
        """Run the callbacks of what has happened up to now."""
        finished = []
        for _ in range(len(self._events)):
            if not self._events:  # a callback closed the client
                break
            task, deliver = self._events.popleft()
            deliver()
            if task is not None:
                finished.append(task)
        return tuple(finished)
