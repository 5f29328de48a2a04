"""How long the user interface stands still: measured by a timer in the event loop."""

import time
from types import TracebackType

import PySide6.QtCore as QtCore

_TICK_MS = 5


class StallMeter:
    """Ticks in the event loop; what lies between two ticks is a pause of the user interface.

    On a machine that is busy with other work the clock shows pauses that are not ours: the processor time of this
    thread does not.

    Attributes:
        pauses: (seconds, seconds of this thread's processor time) of each.

    Example:
        >>> with StallMeter() as meter:
        ...     run_until(lambda: not bench.propagation.running)
        >>> meter.summary()
    """

    def __init__(self) -> None:
        self.pauses: list[tuple[float, float]] = []
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    def __enter__(self) -> "StallMeter":
        self._last = time.perf_counter(), time.thread_time()
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tick()
        self._timer.stop()

    @property
    def longest_ms(self) -> float:
        """The longest pause by this thread's processor time."""
        return 1000 * max((busy for _, busy in self.pauses), default=0.0)

    def summary(self) -> dict[str, float]:
        """For a benchmark's JSON line."""
        return {
            "longest_wall_ms": round(1000 * max((wall for wall, _ in self.pauses), default=0.0), 1),
            "longest_cpu_ms": round(self.longest_ms, 1),
            "above_100_ms_wall": sum(wall > 0.1 for wall, _ in self.pauses),
            "above_100_ms_cpu": sum(busy > 0.1 for _, busy in self.pauses),
            "ticks": len(self.pauses),
        }

    def _tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self.pauses.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now
