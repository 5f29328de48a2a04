"""What every client of the model can do: the one of the inference process, and the one that computes itself.

Nothing here waits or knows torch. A call hands over a request and returns a :class:`Task`; ``poll``, called from a
timer every 10 to 20 ms, runs the callbacks on the caller's own thread.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.session import PredictionRequest
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.worker.requests import LabelledSlices, ModelChoice, Request

OnDone = Callable[[Any], None]
OnFailure = Callable[[Exception], None]
OnProgress = Callable[[int, int], None]
ClientState = Literal["stopped", "starting", "loading", "ready", "failed"]
TaskState = Literal["waiting", "running", "done", "failed", "cancelled", "superseded"]

NEIGHBOURS = 8
"""How many slices on each side of the one in focus are encoded ahead."""


@dataclass(frozen=True)
class Notice:
    """Something that the user should know and that belongs to no single request.

    Attributes:
        text: one sentence.
        details: for the log and for "copy details".
        restarted: whether the process was started anew; what it had encoded in memory is gone.
    """

    text: str
    details: str = ""
    restarted: bool = False


@dataclass(eq=False)
class Task:
    """A request on its way.

    Attributes:
        request: what was asked.
        stop: how its client cancels it.
        on_done, on_failure, on_progress: called by ``poll``.
        topic: a newer prediction of the same topic takes this one's place.
        state: where it is; no callback follows a "superseded" one.
        answer: once done.
        error: once failed; ``__notes__`` of an error in another process ends with its traceback.
        progress: (done, total) of long work.
        times: milliseconds of each stage, once it is done.
        attempts: how many processes it has brought down, or seen go down.
    """

    request: Request
    stop: "Callable[[Task], None]"
    on_done: OnDone | None = None
    on_failure: OnFailure | None = None
    on_progress: OnProgress | None = None
    topic: object = None
    state: TaskState = "waiting"
    answer: Any = None
    error: Exception | None = None
    progress: tuple[int, int] = (0, 0)
    times: Mapping[str, float] = field(default_factory=dict)
    attempts: int = 0
    submitted: float = field(default_factory=time.perf_counter)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("waiting", "running")

    def cancel(self) -> None:
        """Stop it. Clicks, encoding and loading end without a callback; long work calls ``on_failure(Cancelled)``."""
        if not self.finished:
            self.stop(self)


class InferenceClient(Protocol):
    """A model to ask.

    Requests made before a model is loaded wait for it; if none was asked for, it is the default one.

    Attributes:
        on_notice: called by ``poll`` with what belongs to no request.
        state: of the process and its model.
    """

    on_notice: Callable[[Notice], None] | None
    state: ClientState

    @property
    def busy(self) -> bool:
        """Whether anything is unfinished."""

    def load(self, choice: ModelChoice, on_done: OnDone | None = None, on_failure: OnFailure | None = None) -> Task:
        """Load a model; the answer is a ``ModelInfo``. What waits is answered by the new model."""

    def embed(self, image: SliceImage, on_done: OnDone | None = None, on_failure: OnFailure | None = None) -> Task:
        """Encode a slice when no click waits, in the order of the calls; the answer is None."""

    def focus(
        self,
        volume: Volume,
        slice_index: SliceIndex,
        window: Window,
        neighbours: int = NEIGHBOURS,
        on_encoded: Callable[[SliceIndex], None] | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        """Encode this slice, then its neighbours outwards; an earlier focus's slices that have not begun are dropped.

        Predictions on this slice go before others.
        """

    def predict(
        self,
        image: SliceImage,
        request: PredictionRequest,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
        topic: object = None,
    ) -> Task:
        """Answer prompts with ``CutCandidates``, which ``InteractiveSession.apply_result`` takes.

        Args:
            topic: what it is about, ``request.target`` by default: an older prediction of the same topic is dropped.
        """

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
        """Fill in a volume; the answer is a ``PropagationResult``."""

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
        """Read a few-shot collection, changed first where anything is given; the answer is a ``CollectionInfo``."""

    def fit(
        self,
        path: Path,
        settings: FitSettings | None = None,
        fresh: bool = False,
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
    ) -> Task:
        """Fit the few-shot decoder of a collection, stored in its file; the answer is a ``FitInfo``."""

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
        """Segment a volume with a collection's decoder; the answer is a ``FewShotAnswer``."""

    def apply_adapter(
        self,
        folder: Path,
        volume: Volume,
        axis: str | None = None,
        on_progress: OnProgress | None = None,
        on_done: OnDone | None = None,
        on_failure: OnFailure | None = None,
    ) -> Task:
        """Segment a volume with an adapter of automatic mode, which lies on the loaded model's base; the answer is an
        ``AdapterAnswer``. The adapter that prompts are answered with stays as it is.
        """

    def forget(self) -> None:
        """Drop all slices and embeddings, in memory and on disk."""

    def poll(self) -> tuple[Task, ...]:
        """Move on, run callbacks, and return the tasks that finished.

        An exception of a callback leaves this call; what else has finished is delivered by the next one.
        """

    def log_text(self) -> str:
        """The end of the log and the last traceback, for "copy details"."""

    def close(self) -> None:
        """End all work without callbacks, and the process. A later request starts it again."""
