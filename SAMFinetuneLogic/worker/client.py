"""The client of the inference process: it never waits, and outlives the process.

It decides what is computed next and keeps what is needed to ask again: two clicks at most are with the process, and one
slice ahead of the user, so that a newer click is never behind many older ones.
"""

import pickle
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import SAMFinetuneLogic.propagation.result  # noqa: F401 - so that the first result is read without a halt
from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.prompting.cache_folder import CacheFolder
from SAMFinetuneLogic.worker.crossed import Crossed
from SAMFinetuneLogic.worker.failures import Failure
from SAMFinetuneLogic.worker.interface import InferenceClient
from SAMFinetuneLogic.worker.link import Link
from SAMFinetuneLogic.worker.packing import pack, unpack
from SAMFinetuneLogic.worker.process import ChildProcess
from SAMFinetuneLogic.worker.requests import Embed, Load, ModelChoice, Predict, is_long, volumes_of
from SAMFinetuneLogic.worker.tasks import Notice, Task

_QUICK_AT_ONCE = 2
_UPLOAD_SECONDS = 0.006
_UPLOAD_BYTES = 2 << 20
_MAX_ATTEMPTS = 2
_MAX_STARTS = 5
_START_WINDOW_SECONDS = 60.0


class RemoteClient(InferenceClient):
    """The client of another process, which it starts when something is asked.

    Args:
        python: the interpreter; None for PythonSlicer inside 3D Slicer, else this one.

    Example:
        >>> client = RemoteClient()
        >>> client.load(ModelChoice("samfinetune_default"), on_done=print, on_failure=print)
        >>> client.predict(image, session.request(target), on_done=show)
        >>> timer.connect("timeout()", client.poll)
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__()
        self._python = python
        self._process: ChildProcess | None = None
        self._crossed = Crossed()
        self._in_flight: dict[int, Task] = {}
        self._uploading: tuple[Task, Iterator[Any]] | None = None
        self._next_number = 1
        self._choice = ModelChoice()
        self._loaded = False
        self._starts: deque[float] = deque(maxlen=_MAX_STARTS)
        self._last_details = ""

    @property
    def busy(self) -> bool:
        return bool(len(self._waiting) or self._in_flight or self._uploading or self._events)

    @property
    def process_id(self) -> int | None:
        """Of the inference process; None while there is none."""
        return None if self._process is None else self._process.pid

    def poll(self) -> tuple[Task, ...]:
        process = self._process
        if process is not None:
            link = process.meet()
            if link is not None:
                for content in link.receive():
                    self._take(pickle.loads(content))
            if process is self._process and (process.ended or process.overdue):
                self._lost(process)
            self._move_on()
        return self._deliver()

    def forget(self) -> None:
        self._crossed.clear()
        if self._link is not None:
            self._send("forget")  # what is under way was sent before and keeps what it needs
        elif self._choice.cache_folder is not None:
            CacheFolder(self._choice.cache_folder, 0).clear()
        self._uploading = self._upload_again()

    def log_text(self) -> str:
        current = "" if self._process is None else self._process.log_text()
        return "\n".join(part for part in (self._last_details, current) if part)

    def close(self) -> None:
        self._events.clear()
        for task in [*self._waiting.take_all(), *self._in_flight.values(), *self._upload_task()]:
            task.state = "cancelled"
        self._in_flight.clear()
        self._topics.clear()
        self._ahead.clear()
        self._uploading = None
        self._stop()
        self.state = "stopped"

    # Sending

    @property
    def _link(self) -> Link | None:
        return None if self._process is None else self._process.link

    def _move_on(self) -> None:
        if len(self._waiting) and self._process is None:
            self._start()
        if self._link is not None:
            self._dispatch()
            self._upload()
            if self._link is not None:
                self._link.flush()

    def _dispatch(self) -> None:
        load = self._waiting.next_load()
        if load is not None:
            self._begin_load(load)
        if any(isinstance(task.request, Load) for task in self._in_flight.values()):
            return
        if not self._loaded:
            if len(self._waiting):
                self._begin_load(Task(Load(self._choice), self._cancel))
            return
        quick = sum(not is_long(task.request) for task in self._in_flight.values())
        long_runs = self._uploading is not None or len(self._in_flight) > quick
        while quick < _QUICK_AT_ONCE and (task := self._waiting.next_click()) is not None:
            self._ask(task)
            quick += 1
        if quick == 0 and (task := self._waiting.next_ahead(only_focus=long_runs)) is not None:
            self._ask(task)
        if not long_runs and (task := self._waiting.next_long()) is not None:
            task.state = "running"
            self._uploading = (task, self._slices_of(task))

    def _begin_load(self, task: Task) -> None:
        """Load a model; what an earlier one was asked is asked again, but for long work, which goes on."""
        assert isinstance(task.request, Load)
        again = [number for number, other in self._in_flight.items() if not is_long(other.request)]
        for number in again:
            self._send("cancel", number)
        self._waiting.add_again([self._in_flight.pop(number) for number in again])
        self._choice, self._loaded, self.state = task.request.choice, False, "loading"
        self._ask(task)

    def _ask(self, task: Task) -> None:
        request = task.request
        if isinstance(request, Predict | Embed):
            self._send_pixels(request.image.content_hash, request.image.pixels)
        number, self._next_number = self._next_number, self._next_number + 1
        task.state = "running"
        task.times = {"waited": 1000 * (time.perf_counter() - task.submitted)}
        self._in_flight[number] = task
        self._send("do", number, pack(request, self._crossed.keys_of))
        surplus = self._crossed.surplus() if self._uploading is None else []
        if surplus:
            self._send("drop", surplus)

    def _send_pixels(self, key: str, pixels: Any) -> None:
        if self._crossed.missing(key, pixels):
            self._send("pixels", key, pixels)

    def _slices_of(self, task: Task) -> Iterator[Any]:
        for volume in volumes_of(task.request):
            yield from self._crossed.slices_to_send(volume)

    def _upload(self) -> None:
        """Send some slices of the volume that long work needs, and the work itself after the last one."""
        if self._uploading is None or self._link is None:
            return
        task, slices = self._uploading
        until = time.perf_counter() + _UPLOAD_SECONDS
        while time.perf_counter() < until and self._link.unsent < _UPLOAD_BYTES:
            try:
                found = next(slices)
            except StopIteration:
                self._uploading = None
                self._ask(task)
                return
            if found is not None:
                self._send("pixels", *found)

    def _upload_again(self) -> tuple[Task, Iterator[Any]] | None:
        return None if self._uploading is None else (self._uploading[0], self._slices_of(self._uploading[0]))

    def _upload_task(self) -> list[Task]:
        return [] if self._uploading is None else [self._uploading[0]]

    def _send(self, *message: Any) -> None:
        if self._link is not None:
            self._link.send(pickle.dumps(message, protocol=5))

    def _drop(self, task: Task) -> None:
        self._waiting.discard(task)
        if task in self._upload_task():
            self._uploading = None
        for number, other in list(self._in_flight.items()):
            if other is task and not isinstance(task.request, Load):
                del self._in_flight[number]
                self._send("cancel", number)

    # Receiving

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("hello", pid):
                assert self._process is not None
                self._process.pid = pid
            case ("progress", number, done, total) if number in self._in_flight:
                self._report(self._in_flight[number], done, total)
            case ("answer", number, content, times) if number in self._in_flight:
                task = self._in_flight.pop(number)
                answer = unpack(content, _no_pixels, _no_pixels)
                if isinstance(task.request, Load):
                    self._loaded, self.state = True, "ready"
                self._finish(task, answer, {**task.times, **times})
            case ("failed", number, failure) if number in self._in_flight:
                self._take_failure(self._in_flight.pop(number), failure)
            case ("notice", text):
                self._tell(Notice(text))

    def _take_failure(self, task: Task, failure: Failure) -> None:
        self._last_details = failure.details
        error = failure.to_error()
        self._fail(task, error)
        if isinstance(task.request, Load):
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Fail all that waits; the next request tries anew."""
        self.state, self._loaded = "failed", False
        for task in [*self._waiting.take_all(), *self._upload_task()]:
            self._fail(task, error)
        self._uploading = None

    # The process

    def _start(self) -> None:
        self._starts.append(time.monotonic())
        self.state = "starting"
        try:
            self._process = ChildProcess(self._python)
        except (OSError, ModelError) as error:
            self._last_details = repr(error)
            reason = error.strerror or error if isinstance(error, OSError) else error
            problem = ModelError(f"The model's process could not be started ({reason}): check the installation.")
            self._give_up(problem)
            self._tell(Notice(str(problem), repr(error)))

    def _stop(self) -> None:
        if self._process is not None:
            self._process.stop()
        self._process, self._loaded = None, False
        self._crossed.clear()

    def _lost(self, process: ChildProcess) -> None:
        """The process is gone: start another one and ask it what this one owes."""
        how, details = process.how_it_ended(), process.log_text()
        met = process.link is not None
        self._last_details = details or self._last_details
        owed = [task for _, task in sorted(self._in_flight.items()) if not task.finished] + self._upload_task()
        running = {id(task) for task in self._in_flight.values()}
        self._in_flight.clear()
        self._uploading = None
        self._stop()
        error = ModelError(process.what_to_do(how))
        error.add_note(details)
        again: list[Task] = []
        for task in owed:
            task.attempts += id(task) in running
            if task.attempts < _MAX_ATTEMPTS:
                again.append(task)
            else:
                self._fail(task, error)
        self._waiting.add_again(again)
        recent = [start for start in self._starts if time.monotonic() - start < _START_WINDOW_SECONDS]
        no_model = any(isinstance(task.request, Load) and task.finished for task in owed)
        if not met or no_model or len(recent) >= _MAX_STARTS:
            self._give_up(error)
            self._tell(Notice(str(error), details))
            return
        self._start()
        if not any(isinstance(task.request, Load) for task in again):
            self._waiting.add(Task(Load(self._choice), self._cancel))
        text = f"The model's process ended unexpectedly ({how}) and was started again; your work goes on."
        self._tell(Notice(text, details, restarted=True))


def _no_pixels(_: Any) -> Any:
    raise pickle.UnpicklingError("An answer refers to pixels.")
