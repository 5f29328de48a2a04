"""Requests that wait: loading first, then clicks, those on the slice in focus before others, then encoding ahead."""

from collections.abc import Callable

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.worker.requests import Embed, Load, Predict, is_long
from SAMFinetuneLogic.worker.tasks import Task


class Waiting:
    """The tasks in state "waiting", in the order in which they came.

    Attributes:
        focus: the slice that the user looks at.
    """

    def __init__(self) -> None:
        self.focus: SliceIndex | None = None
        self._tasks: list[Task] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> None:
        """Put a task at the end."""
        self._tasks.append(task)

    def add_again(self, tasks: list[Task]) -> None:
        """Put tasks that were on their way back to the front."""
        for task in tasks:
            task.state = "waiting"
        self._tasks[:0] = tasks

    def discard(self, task: Task) -> None:
        """Take a task out, if it is here."""
        if task in self._tasks:
            self._tasks.remove(task)

    def take_all(self) -> list[Task]:
        """Take everything out."""
        tasks, self._tasks = self._tasks, []
        return tasks

    def next_load(self) -> Task | None:
        """Take out the latest model asked for; the earlier ones are dropped, for nobody wants them any more."""
        loads = [task for task in self._tasks if isinstance(task.request, Load)]
        for task in loads:
            self._tasks.remove(task)
        for task in loads[:-1]:
            task.state = "superseded"
        return loads[-1] if loads else None

    def next_click(self) -> Task | None:
        """Take out the next prediction."""
        return self._take(self._in_focus) or self._take(lambda task: isinstance(task.request, Predict))

    def next_ahead(self, only_focus: bool) -> Task | None:
        """Take out the next slice to encode; ``only_focus`` holds the neighbours back."""
        return self._take(lambda task: isinstance(task.request, Embed) and not (only_focus and not self._seen(task)))

    def next_long(self) -> Task | None:
        """Take out the next long work."""
        return self._take(lambda task: is_long(task.request))

    def _take(self, wanted: Callable[[Task], bool]) -> Task | None:
        task = next((task for task in self._tasks if wanted(task)), None)
        if task is not None:
            self._tasks.remove(task)
        return task

    def _in_focus(self, task: Task) -> bool:
        return isinstance(task.request, Predict) and self._seen(task)

    def _seen(self, task: Task) -> bool:
        return isinstance(task.request, Predict | Embed) and task.request.image.slice == self.focus
