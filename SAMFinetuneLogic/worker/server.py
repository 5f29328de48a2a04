"""The inference process: one thread answers clicks and encodes ahead, one does long work, and one listens.

Long work gives way: at each of its steps it waits while there is anything to do for the user who is clicking.
"""

import os
import pickle
import queue
import socket
import threading
import time
from typing import Any

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.files import remove_unfinished
from SAMFinetuneLogic.worker.crossed import PixelStore
from SAMFinetuneLogic.worker.failures import Failure
from SAMFinetuneLogic.worker.link import read_message, write_message
from SAMFinetuneLogic.worker.packing import pack, unpack
from SAMFinetuneLogic.worker.requests import Load, Request, is_long

FATAL_EXIT = 70
_PROGRESS_SECONDS = 0.05
_Job = tuple[int, Request, float]


class Server:
    """Serves one client until it is gone.

    Args:
        connection: a blocking socket to it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._store = PixelStore()
        self._engine: Any = None  # importing torch takes seconds; the first request is read meanwhile
        self._quick: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._long: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._no_clicks = threading.Condition()
        self._clicks = 0

    def run(self) -> None:
        """Listen; ends the process when the client is gone."""
        for work in (self._quick, self._long):
            threading.Thread(target=self._work, args=(work,), daemon=True).start()
        self._send("hello", os.getpid())
        try:
            while True:
                self._take(pickle.loads(read_message(self._connection)))
        except ConnectionError:
            end_process(0)

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("pixels", key, pixels):
                self._store.add(key, pixels)
            case ("drop", keys):
                self._store.drop(keys)
            case ("forget",):
                self._store.clear()
                if self._engine is not None:
                    self._engine.forget()
            case ("cancel", number):
                self._cancelled.add(number)
            case ("do", number, content):
                request = unpack(content, self._store.pixels, self._store.stack)
                if is_long(request):
                    self._long.put((number, request, time.perf_counter()))
                else:
                    with self._no_clicks:
                        self._clicks += 1
                    self._quick.put((number, request, time.perf_counter()))

    def _work(self, jobs: "queue.SimpleQueue[_Job]") -> None:
        while True:
            number, request, came = jobs.get()
            try:
                if number not in self._cancelled:
                    self._answer(number, request, came)
            finally:
                self._cancelled.discard(number)
                if jobs is self._quick:
                    with self._no_clicks:
                        self._clicks -= 1
                        self._no_clicks.notify_all()

    def _answer(self, number: int, request: Request, came: float) -> None:
        try:
            began = time.perf_counter()
            if isinstance(request, Load) and self._engine is None:
                from SAMFinetuneLogic.worker.engine import Engine

                self._engine = Engine()
            from SAMFinetuneLogic.worker.engine import Course

            last_report = 0.0

            def progress(done: int, total: int) -> None:
                nonlocal last_report
                now = time.perf_counter()
                if done == total or now - last_report > _PROGRESS_SECONDS:
                    last_report = now
                    self._send("progress", number, done, total)

            course = Course(progress, lambda: self._give_way(number) if is_long(request) else False)
            answer = self._engine.answer(request, course)
            with course.stage("pack"):
                content = pack(answer)
            now = time.perf_counter()
            times = {**course.times, "queued": 1000 * (began - came), "child": 1000 * (now - came)}
        except BaseException as error:
            self._fail(number, error)
        else:
            self._send("answer", number, content, times)
        if self._engine is not None:
            for text in self._engine.new_warnings():
                self._send("notice", text)

    def _fail(self, number: int, error: BaseException) -> None:
        failure = Failure.of(error)
        if not isinstance(error, Cancelled):
            print(failure.details, flush=True)
        self._send("failed", number, failure)
        if failure.fatal:
            end_process(FATAL_EXIT)

    def _give_way(self, number: int) -> bool:
        """Wait while a click is being answered; whether the work is cancelled."""
        with self._no_clicks:
            while self._clicks and number not in self._cancelled:
                self._no_clicks.wait(0.1)
        return number in self._cancelled

    def _send(self, *message: Any) -> None:
        content = pickle.dumps(message, protocol=5)
        try:
            with self._sending:
                write_message(self._connection, content)
        except OSError:
            end_process(0)


def end_process(code: int) -> None:
    """Leave at once, also in the middle of work: nobody waits for it any more."""
    remove_unfinished()
    os._exit(code)
