"""The client that computes itself, in ``poll``: for the command line and for tests. It does wait."""

import time

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.worker.engine import Course, Engine
from SAMFinetuneLogic.worker.failures import Failure
from SAMFinetuneLogic.worker.interface import InferenceClient
from SAMFinetuneLogic.worker.requests import Load, ModelChoice
from SAMFinetuneLogic.worker.tasks import Task


class InProcessClient(InferenceClient):
    """Each ``poll`` does one piece of work.

    Long work can be cancelled from its ``on_progress``, which is called at once here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._engine = Engine()
        self._choice = ModelChoice()
        self._details = ""

    @property
    def busy(self) -> bool:
        return bool(len(self._waiting) or self._events)

    def poll(self) -> tuple[Task, ...]:
        task = self._next()
        if task is not None:
            self._run(task)
        return self._deliver()

    def forget(self) -> None:
        self._engine.forget()

    def log_text(self) -> str:
        return self._details

    def close(self) -> None:
        self._events.clear()
        for task in self._waiting.take_all():
            task.state = "cancelled"
        self._topics.clear()
        self._ahead.clear()
        self._engine, self.state = Engine(), "stopped"

    def _move_on(self) -> None:
        pass

    def _drop(self, task: Task) -> None:
        self._waiting.discard(task)

    def _next(self) -> Task | None:
        waiting = self._waiting
        load = waiting.next_load()
        if load is None and self.state != "ready" and len(waiting):
            load = Task(Load(self._choice), self._cancel)
        return load or waiting.next_click() or waiting.next_ahead(only_focus=False) or waiting.next_long()

    def _run(self, task: Task) -> None:
        task.state = "running"
        waited = 1000 * (time.perf_counter() - task.submitted)
        if isinstance(task.request, Load):
            self._choice = task.request.choice

        def progress(done: int, total: int) -> None:
            task.progress = (done, total)
            if task.on_progress is not None:
                task.on_progress(done, total)

        course = Course(progress, lambda: task.finished)
        try:
            answer = self._engine.answer(task.request, course)
        except Cancelled as error:
            self._fail(task, error)
        except Exception as error:
            failure = Failure.of(error)
            self._details = failure.details
            self._fail(task, failure.to_error())
            if isinstance(task.request, Load):
                self.state = "failed"
                for other in self._waiting.take_all():
                    self._fail(other, failure.to_error())
        else:
            if isinstance(task.request, Load):
                self.state = "ready"
            self._finish(task, answer, {**course.times, "waited": waited})
