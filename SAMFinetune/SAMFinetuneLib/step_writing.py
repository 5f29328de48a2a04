"""Results into segments, a few slices at each turn of the event loop: the user interface must not stand still.

A result is half written meanwhile. What needs it whole says :meth:`StepWriting.finish` first; undo says
:meth:`StepWriting.take_back`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLogic.mrml.editing import Written

Steps = Iterator[tuple[int, int, Written]]
"""Of :meth:`SAMFinetuneLogic.mrml.editing.SegmentWriter.write_in_steps`."""
Undo = Callable[[], None]


@dataclass(eq=False)
class Result:
    """One result that is being written.

    Attributes:
        steps: each writes a few slices.
        on_step: called after each, with how many slices are done, and of how many.
        on_done: called once it is written, with what changed (None if there was nothing to write).
        on_taken_back: called in its place if the user has taken it back.
        on_failure: called with the exception that it, or ``on_done``, ended in.
        undo: takes it back, once it is written as a whole; None where nothing can.
        saved: whether the state before it is kept for the undo already.
    """

    steps: Steps
    on_step: Callable[[int, int], None]
    on_done: Callable[[Written | None], None]
    on_taken_back: Callable[[], None]
    on_failure: Callable[[Exception], None]
    undo: Undo | None = None
    saved: bool = False
    written: Written | None = None
    unwanted: bool = False


class StepWriting:
    """Writes one result after the other.

    Attributes:
        changed: emitted when writing begins, and when nothing is left to write.
    """

    def __init__(self) -> None:
        self.changed = Signal()
        self._queue: deque[Result] = deque()
        self._timer = make_timer(self._step, 0)

    @property
    def running(self) -> bool:
        """Whether a result is half written, or waits to be."""
        return bool(self._queue)

    def write(self, result: Result) -> None:
        """Begin; returns at once."""
        self._queue.append(result)
        self._timer.start()
        if len(self._queue) == 1:
            self.changed.emit()

    def finish(self) -> None:
        """Write what is left at once: somebody needs the segments as they will be."""
        while self._queue:
            self._step()

    def take_back(self) -> bool:
        """Undo the results that are being written, each as soon as it is whole: no half of it stays, nor can be redone.

        Returns:
            Whether there is such a result.
        """
        found = [result for result in self._queue if result.undo is not None]
        for result in found:
            result.unwanted = True
        return bool(found)

    def drop(self, result: Result | None) -> None:
        """Stop in the middle: its nodes are gone."""
        if result in self._queue:
            self._queue.remove(result)
            self._settle()

    def _step(self) -> None:
        if not self._queue:
            self._timer.stop()
            return
        result = self._queue[0]
        try:
            done, total, result.written = next(result.steps)
            result.on_step(done, total)
        except StopIteration:
            self._leave(result, lambda: self._end(result))
        except Exception as error:  # a segment or its node may be gone by now
            self._leave(result, lambda error=error: result.on_failure(error))

    def _leave(self, result: Result, then: Callable[[], None]) -> None:
        if result in self._queue:
            self._queue.remove(result)
        then()
        self._settle()

    @staticmethod
    def _end(result: Result) -> None:
        try:
            if result.unwanted and result.undo is not None:
                if result.saved or (result.written is not None and result.written.saved):
                    result.undo()
                result.on_taken_back()
            else:
                result.on_done(result.written)
        except Exception as error:
            result.on_failure(error)

    def _settle(self) -> None:
        if not self._queue and self._timer.isActive():
            self._timer.stop()
            self.changed.emit()
