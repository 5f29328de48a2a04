"""What a working job tells those who follow it: events, status and heartbeat."""

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.jobs.folder import JobFolder, State, Status

HEARTBEAT_SECONDS = 2.0


class Reporter:
    """Writes a job's events and keeps its status fresh; used as a context.

    Reports that cannot be written (a full disk) are no reason to stop: what matters, the checkpoint, has errors of
    its own.

    Args:
        folder: of the job.
    """

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.status = Status("queued", os.getpid())
        self._first_step: tuple[int, float] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Reporter":
        self._end_last_line()
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def state(self, state: State, message: str = "") -> None:
        """Change the state. Where training does not go on, no time is left of it."""
        left = self.status.seconds_left if state == "running" else None
        self._change(state=state, message=message, seconds_left=left)
        self.event({"event": "state", "state": state, "message": message})
        self._write()

    def event(self, event: dict[str, Any]) -> None:
        """Append an event, and take over into the status what it says."""
        kind = event.get("event")
        if kind == "step":
            self._count(event)
        elif kind == "start":
            self._change(step=event["step"], steps=event["steps"])
        elif kind == "epoch":
            self._change(validation_dice=event.get("validation_dice", self.status.validation_dice))
            self._write()
        elif kind == "judging":
            self._change(state="judging", seconds_left=None)
            self._write()
        elif kind == "verdict":
            self._change(verdict=event["verdict"], message=event["text"])
        line = json.dumps({"time": round(time.time(), 3), **event}, ensure_ascii=False) + "\n"
        # The name of a file may hold bytes that are no letters: they become JSON escapes.
        with suppress(OSError), self.folder.events_file.open("ab") as stream:
            stream.write(line.encode("utf-8", "backslashreplace"))

    def _count(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if self._first_step is None:
            self._first_step = (event["step"], now)
        first, started = self._first_step
        done = event["step"] - first
        left = (event["steps"] - event["step"]) * (now - started) / done if done else None
        self._change(
            step=event["step"],
            steps=event["steps"],
            loss=event.get("loss"),
            dice=event.get("dice"),
            seconds=event.get("seconds", 0.0),
            seconds_left=left,
        )

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self.status = replace(self.status, **changes)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock, suppress(OutputError):
            self.folder.write_status(replace(self.status, heartbeat=time.time()))

    def _end_last_line(self) -> None:
        """After a kill the last line may be half a line: the next event must not be glued to it."""
        with suppress(OSError):
            text = self.folder.events_file.read_bytes()
            if text and not text.endswith(b"\n"):
                with self.folder.events_file.open("ab") as stream:
                    stream.write(b"\n")
