"""An inference client with a model that needs no weights: the answer is the bright region under the prompt.

It has the interface of ``SAMFinetuneLogic.worker.interface.InferenceClient`` and computes in ``poll``, one task at a
time. What the tests assert about places, undo, masking and files does not depend on how clever the model is; what
does is tested with the real process, in ``test_worker.py``.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.slice_image import SliceImage


@dataclass(eq=False)
class _Task:
    work: Callable[["_Task"], Any]
    on_done: Callable[[Any], None] | None
    on_failure: Callable[[Exception], None] | None
    urgent: bool
    cancelled: bool = False
    times: dict[str, float] = field(default_factory=dict)

    def cancel(self) -> None:
        self.cancelled = True


@dataclass(frozen=True)
class _Info:
    warnings: tuple[str, ...] = ()
    sha256: str = "0" * 64

    def __str__(self) -> str:
        return "Bright regions on CPU"


class RegionClient:
    """See the module's docstring.

    Attributes:
        failure: raised by the next task, once.
        log: names of the tasks that ran.
    """

    def __init__(self) -> None:
        self.on_notice: Callable[[Any], None] | None = None
        self.failure: Exception | None = None
        self.log: list[str] = []
        self.propagations: list[Any] = []
        self._tasks: deque[_Task] = deque()
        self.closed = False

    def load(self, choice: Any, on_done: Any = None, on_failure: Any = None) -> _Task:
        return self._add("load", lambda _: _Info(), on_done, on_failure)

    def focus(
        self, volume: Any, slice_index: Any, window: Any, neighbours: int = 8, on_encoded: Any = None, on_failure=None
    ) -> None:
        for task in self._tasks:
            task.cancelled |= not task.urgent
        for index in (slice_index.index, slice_index.index + 1, slice_index.index - 1):
            if 0 <= index < volume.slice_count(slice_index.axis):
                entry = SliceIndex(slice_index.axis, index)
                self._add("embed", lambda _, entry=entry: entry, on_encoded, on_failure, urgent=False)

    def predict(
        self, image: SliceImage, request: Any, on_done: Any = None, on_failure: Any = None, topic=None
    ) -> _Task:
        return self._add("predict", lambda _: answer(image, request.prompts), on_done, on_failure)

    def propagate(
        self, volume: Any, labels: Any, options: Any, window="auto", on_progress=None, on_done=None, on_failure=None
    ) -> _Task:
        from dataclasses import replace

        from SAMFinetuneLogic.propagation.volume import propagate_volume

        self.propagations.append(options)

        def run(task: _Task) -> Any:
            chosen = replace(options, method="interpolate")
            return propagate_volume(
                volume, labels, None, chosen, window, progress=on_progress, cancelled=lambda: task.cancelled
            )

        return self._add("propagate", run, on_done, on_failure)

    def forget(self) -> None:
        self.log.append("forget")

    def log_text(self) -> str:
        return "\n".join(self.log)

    def poll(self) -> None:
        for task in [task for task in self._tasks if task.cancelled]:
            self._tasks.remove(task)
            if task.urgent and task.on_failure is not None:
                task.on_failure(Cancelled("Stopped on request."))
        task = next((task for task in self._tasks if task.urgent), self._tasks[0] if self._tasks else None)
        if task is None:
            return
        self._tasks.remove(task)
        try:
            if self.failure is not None and task.urgent:
                error, self.failure = self.failure, None
                raise error
            found = task.work(task)
        except Exception as error:
            if task.on_failure is not None:
                task.on_failure(error)
        else:
            if task.on_done is not None:
                task.on_done(found)

    def close(self) -> None:
        self._tasks.clear()
        self.closed = True

    def _add(self, name: str, work: Any, on_done: Any, on_failure: Any, urgent: bool = True) -> _Task:
        self.log.append(name)
        task = _Task(work, on_done, on_failure, urgent)
        self._tasks.append(task)
        return task


def answer(image: SliceImage, prompts: Any) -> Candidates:
    """The connected regions brighter than mid-gray under the positive prompts, without those under negative ones."""
    regions, _ = ndimage.label(image.to_uint8() > 127)
    chosen = np.zeros(image.shape, dtype=bool)
    pixels = np.floor(prompts.points + 0.5).astype(int)
    for (row, col), positive in zip(pixels, prompts.labels, strict=True):
        if positive and regions[row, col]:
            chosen |= regions == regions[row, col]
    for row0, col0, row1, col1 in np.floor(prompts.boxes + 0.5).astype(int):
        chosen[row0 : row1 + 1, col0 : col1 + 1] |= regions[row0 : row1 + 1, col0 : col1 + 1] > 0
    if prompts.mask is not None:
        chosen |= prompts.mask & (regions > 0)
    for (row, col), positive in zip(pixels, prompts.labels, strict=True):
        if not positive:
            chosen[max(row - 3, 0) : row + 4, max(col - 3, 0) : col + 4] = False
    masks = np.stack([chosen, ndimage.binary_dilation(chosen, iterations=2)])
    logits = np.where(masks, 5.0, -5.0).astype(np.float32)
    return Candidates(logits, logits[:, :8, :8].copy(), np.array([0.9, 0.6], dtype=np.float32))
