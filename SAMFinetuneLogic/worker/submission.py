"""What the two clients share: from calls to tasks, and from finished tasks to callbacks."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.session import PredictionRequest
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.worker.interface import (
    NEIGHBOURS,
    ClientState,
    Notice,
    OnDone,
    OnFailure,
    OnProgress,
    Task,
)
from SAMFinetuneLogic.worker.requests import (
    Apply,
    ApplyAdapter,
    Collect,
    Embed,
    Fit,
    LabelledSlices,
    Load,
    ModelChoice,
    Predict,
    Propagate,
    Request,
    is_long,
)
from SAMFinetuneLogic.worker.waiting import Waiting


class Submission(ABC):
    """The calls of :class:`SAMFinetuneLogic.worker.interface.InferenceClient`; see there."""

    def __init__(self) -> None:
        self.on_notice: Callable[[Notice], None] | None = None
        self.state: ClientState = "stopped"
        self._waiting = Waiting()
        self._events: deque[tuple[Task | None, Callable[[], None]]] = deque()
        self._ahead: list[Task] = []
        self._topics: dict[object, Task] = {}

    # Asking

    def load(self, choice: ModelChoice, on_done: OnDone | None = None, on_failure: OnFailure | None = None) -> Task:
        return self._submit(Load(choice), on_done, on_failure)

    def embed(self, image: SliceImage, on_done: OnDone | None = None, on_failure: OnFailure | None = None) -> Task:
        return self._submit(Embed(image), on_done, on_failure)

    def focus(
        self,
        volume: Volume,
        slice_index: SliceIndex,
        window: Window,
        neighbours: int = NEIGHBOURS,
        on_encoded: Callable[[SliceIndex], None] | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        for task in self._ahead:
            if task.state == "waiting":
                task.cancel()
        self._waiting.focus = slice_index
        count = volume.slice_count(slice_index.axis)
        offsets = [0, *(sign * distance for distance in range(1, neighbours + 1) for sign in (1, -1))]
        indices = [slice_index.index + offset for offset in offsets if 0 <= slice_index.index + offset < count]
        self._ahead = []
        for index in indices:
            image = SliceImage.of(volume, SliceIndex(slice_index.axis, index), window)

            def done(_: None, where: SliceIndex = image.slice) -> None:
                if on_encoded is not None:
                    on_encoded(where)

            self._ahead.append(self._submit(Embed(image), done, on_failure))

    def predict(
        self,
        image: SliceImage,
        request: PredictionRequest,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
        topic: object = None,
    ) -> Task:
        topic = request.target if topic is None else topic
        earlier = self._topics.get(topic)
        if earlier is not None and not earlier.finished:
            self._drop(earlier)
            earlier.state = "superseded"
        content = Predict(image, request.prompts, request.feedback)
        task = self._submit(content, on_done, on_failure, topic=topic)
        self._topics[topic] = task
        return task

    def propagate(
        self,
        volume: Volume,
        labels: LabelMap,
        options: PropagationOptions,
        window: Window | str = "auto",
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
    ) -> Task:
        return self._submit(Propagate(volume, labels, options, window), on_done, on_failure, on_progress)

    def collect(
        self,
        path: Path,
        add: Sequence[LabelledSlices] = (),
        remove: Sequence[tuple[str, SliceIndex]] = (),
        merge: Sequence[Path] = (),
        reencode: bool = False,
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
    ) -> Task:
        request = Collect(Path(path), tuple(add), tuple(remove), tuple(Path(other) for other in merge), reencode)
        return self._submit(request, on_done, on_failure, on_progress)

    def fit(
        self,
        path: Path,
        settings: FitSettings | None = None,
        fresh: bool = False,
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
    ) -> Task:
        return self._submit(Fit(Path(path), settings, fresh), on_done, on_failure, on_progress)

    def apply(
        self,
        path: Path,
        volume: Volume,
        axis: str | None = None,
        window: Window | str | None = None,
        indices: Sequence[int] | None = None,
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
    ) -> Task:
        chosen = None if indices is None else tuple(indices)
        return self._submit(Apply(Path(path), volume, axis, window, chosen), on_done, on_failure, on_progress)

    def apply_adapter(
        self,
        folder: Path,
        volume: Volume,
        axis: str | None = None,
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
    ) -> Task:
        return self._submit(ApplyAdapter(Path(folder), volume, axis), on_done, on_failure, on_progress)

    # How it is done

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
        task = Task(request, self._cancel, on_done, on_failure, on_progress, topic)
        self._waiting.add(task)
        self._move_on()
        return task

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
