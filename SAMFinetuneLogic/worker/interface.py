"""What every client of the model can do: the one of the inference process, and the one that computes itself.

Nothing here waits or knows torch. A call hands over a request and returns a :class:`Task`; ``poll``, called from a
timer every 10 to 20 ms, runs the callbacks on the caller's own thread.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.session import PredictionRequest
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.propagation.options import PropagationOptions
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
)
from SAMFinetuneLogic.worker.submission import Submission
from SAMFinetuneLogic.worker.tasks import OnDone, OnFailure, OnProgress, Task

NEIGHBOURS = 8
"""How many slices on each side of the one in focus are encoded ahead."""


class InferenceClient(Submission):
    """A model to ask.

    Requests made before a model is loaded wait for it; if none was asked for, it is the default one.

    Attributes:
        on_notice: called by ``poll`` with what belongs to no request.
        state: of the process and its model.
    """

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether anything is unfinished."""

    def load(self, choice: ModelChoice, on_done: OnDone | None = None, on_failure: OnFailure | None = None) -> Task:
        """Load a model; the answer is a ``ModelInfo``. What waits is answered by the new model."""
        return self._submit(Load(choice), on_done, on_failure)

    def embed(self, image: SliceImage, on_done: OnDone | None = None, on_failure: OnFailure | None = None) -> Task:
        """Encode a slice when no click waits, in the order of the calls; the answer is None."""
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
        """Encode this slice, then its neighbours outwards; an earlier focus's slices that have not begun are dropped.

        Predictions on this slice go before others.
        """
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
        """Answer prompts with ``CutCandidates``, which ``InteractiveSession.apply_result`` takes.

        Args:
            topic: what it is about, ``request.target`` by default: an older prediction of the same topic is dropped.
        """
        content = Predict(image, request.prompts, request.feedback, request.alternatives)
        return self._submit(content, on_done, on_failure, topic=request.target if topic is None else topic)

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
        """Read a few-shot collection, changed first where anything is given; the answer is a ``CollectionInfo``."""
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
        """Fit the few-shot decoder of a collection, stored in its file; the answer is a ``FitRecord``."""
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
        """Segment a volume with a collection's decoder; the answer is a ``VolumeResult``."""
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
        """Segment a volume with an adapter of automatic mode, which lies on the loaded model's base; the answer is a
        ``VolumeResult``. The adapter that prompts are answered with stays as it is.
        """
        return self._submit(ApplyAdapter(Path(folder), volume, axis), on_done, on_failure, on_progress)

    @abstractmethod
    def forget(self) -> None:
        """Drop all slices and embeddings, in memory and on disk."""

    @abstractmethod
    def poll(self) -> tuple[Task, ...]:
        """Move on, run callbacks, and return the tasks that finished.

        An exception of a callback leaves this call; what else has finished is delivered by the next one.
        """

    @abstractmethod
    def log_text(self) -> str:
        """The end of the log and the last traceback, for "copy details"."""

    @abstractmethod
    def close(self) -> None:
        """End all work without callbacks, and the process. A later request starts it again."""
