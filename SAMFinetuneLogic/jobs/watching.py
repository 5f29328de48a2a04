"""Following a job from any process, live: it may have been started by another program, long ago."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from SAMFinetuneLogic.jobs.folder import LIVE, JobFolder, Status

POLL_SECONDS = 0.25


class EventTail:
    """The events of a job that have come since the last look.

    Args:
        folder: of the job.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder, self._offset = folder, 0

    def read(self) -> list[dict[str, Any]]:
        """New complete events; never waits."""
        try:
            with self._folder.events_file.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except OSError:
            return []
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        events = []
        for line in data[:complete].splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # half a line of a killed process
                continue
            if isinstance(event, dict):
                events.append(event)
        return events


def follow(
    folder: JobFolder,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[Status, list[dict[str, Any]]]]:
    """Status and new events, again and again until the job has ended. The last one holds the final status.

    Args:
        pause: called between two looks.

    Raises:
        InputError: there is no job.
    """
    folder.read_description()
    tail = EventTail(folder)
    while True:
        status = folder.read_status()
        yield status, tail.read()
        if status.state not in LIVE:
            return
        pause(POLL_SECONDS)
