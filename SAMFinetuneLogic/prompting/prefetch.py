"""Encoding ahead of the user: the slice she looks at first, then its neighbours outwards in both directions.

One thread lives as long as the prefetcher and does all the work, clicks included: plans of the GPU's convolutions
belong to the thread that made them, and a fresh thread for each click would make them again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex

_log = logging.getLogger(__name__)

Embedded = TypeVar("Embedded")
Result = TypeVar("Result")


def outwards(index: int, count: int, radius: int) -> Iterator[int]:
    """Neighbours of slice ``index`` among ``count``: index + 1, index - 1, index + 2, ... up to ``radius`` away."""
    for distance in range(1, radius + 1):
        for neighbour in (index + distance, index - distance):
            if 0 <= neighbour < count:
                yield neighbour


class Prefetcher(Generic[Embedded]):
    """Runs an encoder on one thread, in the order in which slices will be wanted.

    Args:
        embed: encodes a slice; called on the thread. With an embedding cache behind it, its answer is kept.
        slice_count: number of slices along an axis.
        radius: how many neighbours on each side are encoded ahead; 0 for none. Together they should fit the cache.

    Errors on the slice in focus are raised by its future. An error on a neighbour stops the encoding ahead until
    the next focus, is logged, and is kept in :attr:`error`; should the user come there, she gets it from the future.

    Example:
        >>> with Prefetcher(lambda s: predictor.embed(SliceImage.of(volume, s, window)), volume.slice_count) as ahead:
        ...     embedded = ahead.focus(SliceIndex("k", 40)).result()
    """

    def __init__(
        self, embed: Callable[[SliceIndex], Embedded], slice_count: Callable[[Axis], int], radius: int = 8
    ) -> None:
        self.error: BaseException | None = None
        self._embed = embed
        self._slice_count = slice_count
        self._radius = radius
        self._changed = threading.Condition()
        self._urgent: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._in_focus: Future[Embedded] | None = None
        self._ahead: deque[SliceIndex] = deque()
        self._working = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def focus(self, slice_index: SliceIndex) -> "Future[Embedded]":
        """Encode this slice next, then its neighbours; whatever was planned before and has not begun is dropped.

        Returns:
            The slice's embedding to come; cancelled if the focus moves on before its turn.
        """
        count = self._slice_count(slice_index.axis)
        neighbours = (SliceIndex(slice_index.axis, n) for n in outwards(slice_index.index, count, self._radius))
        with self._changed:
            if self._in_focus is not None:
                self._in_focus.cancel()
            self._in_focus = self._enqueue(lambda: self._embed(slice_index))
            self._ahead = deque(neighbours)
            self.error = None
            return self._in_focus

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Run something else on the thread, such as the decoder, before any further encoding ahead."""
        with self._changed:
            return self._enqueue(work)

    def cancel(self) -> None:
        """Drop all that has not begun; what runs now ends by itself."""
        with self._changed:
            for future, _ in self._urgent:
                future.cancel()
            self._ahead.clear()

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until there is nothing left to do; False if that took longer than ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._working or self._urgent or self._ahead), timeout)

    def close(self) -> None:
        """Cancel, and wait for the thread to end."""
        self.cancel()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> "Prefetcher[Embedded]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enqueue(self, work: Callable[[], Result]) -> "Future[Result]":
        if self._closed:
            raise RuntimeError("The prefetcher is closed.")
        future: Future[Result] = Future()
        self._urgent.append((future, work))
        self._changed.notify_all()
        return future

    def _work(self) -> None:
        while True:
            with self._changed:
                self._working = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._urgent or self._ahead)
                if self._closed and not self._urgent:
                    return
                self._working = True
                urgent = self._urgent.popleft() if self._urgent else None
                neighbour = self._ahead.popleft() if urgent is None else None
            if urgent is not None:
                _run(*urgent)
            elif neighbour is not None:
                self._run_ahead(neighbour)

    def _run_ahead(self, neighbour: SliceIndex) -> None:
        try:
            self._embed(neighbour)
        except BaseException as error:
            _log.warning("Encoding slice %s=%d ahead failed: %s", neighbour.axis, neighbour.index, error)
            with self._changed:
                self.error = error
                self._ahead.clear()


def _run(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
