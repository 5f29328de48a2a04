"""The model as the module sees it: questions go out, answers come back by callback, nothing waits.

The model lives in another process (``SAMFinetuneLogic.worker``); a timer of the user interface polls its client.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicer

from SAMFinetuneLib.dependencies import is_importable
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.mrml.names import without_names
from SAMFinetuneLogic.prompting.session import PredictionRequest
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.worker.interface import InferenceClient
from SAMFinetuneLogic.worker.requests import ModelChoice
from SAMFinetuneLogic.worker.tasks import Notice, Task

_log = logging.getLogger(__name__)

POLL_MS = 15
NOT_INSTALLED = (
    'PyTorch is not installed: press "Install what is missing" at the top of the module, or do what it says.'
)
INSTALLING = "Packages are being installed: the model starts again afterwards."
STARTS_LATER = "The model starts with the first volume."
NEIGHBOURS = 8
"""How many slices on each side of the one shown are encoded ahead."""

OnDone = Callable[[Any], None]
OnFailure = Callable[[Exception], None]
OnProgress = Callable[[int, int], None]


class Inference:
    """Starts the client when it is first needed, and polls it.

    Args:
        make_client: called at the first use.
        choice: gives what to load, asked at each start.

    Attributes:
        changed: emitted when :attr:`status` or the set of encoded slices has changed.
        noticed: emitted with a sentence, such as that the process was started again.
        status: a few words on the model and its device.
        info: the loaded model (``ModelInfo``), or None.
    """

    def __init__(self, make_client: Callable[[], InferenceClient], choice: Callable[[], ModelChoice]) -> None:
        self.changed = Signal()
        self.noticed = Signal()
        self.status = STARTS_LATER
        self.info: Any = None
        self._make_client, self._choice = make_client, choice
        self._client: InferenceClient | None = None
        self._loaded: ModelChoice | None = None
        self._encoded: set[tuple[int, SliceIndex]] = set()
        self._focus: tuple[int, SliceIndex] | None = None
        self._focus_failed = False
        self._found = self._paused = False
        self._lacking: ModelError | None = None
        self._timer = make_timer(self.poll, POLL_MS)

    @property
    def client(self) -> InferenceClient:
        """The client; the process behind it starts with the first question.

        Raises:
            ModelError: PyTorch is not installed, or the model's file is not here.
        """
        self._look()
        if self._lacking is not None:
            raise self._lacking
        if self._client is None:
            self._client = self._make_client()
            self._client.on_notice = self._on_notice
            self._timer.start()
        return self._client

    def start(self) -> None:
        """Load the chosen model, if it is not loaded already. Where something lacks, the status says what to do."""
        choice = self._look()
        if choice is None:
            self._loaded = self.info = None
            self._set_status(str(self._lacking))
            return
        if choice == self._loaded:
            return
        self._loaded, self.info, self._focus = choice, None, None
        self._encoded.clear()
        self._set_status("Loading the model ...")
        self.client.load(choice, self._on_loaded, self._on_load_failure)

    def restart(self) -> None:
        """Load again, after a failure or a change of folder."""
        self._loaded = None
        self.start()

    def predict(self, work: Work, request: PredictionRequest, on_done: OnDone, on_failure: OnFailure) -> Task | None:
        """Ask for the candidates of a prompt. A newer question on the same target takes the place of this one.

        Returns:
            None if there can be no answer; ``on_failure`` has been called then.
        """
        self.start()
        if self._lacking is not None:
            on_failure(self._lacking)
            return None
        image = SliceImage.of(work.volume, request.target.slice, work.window)
        task: Task | None = None

        def done(candidates: Any) -> None:
            self._encoded.add((work.number, request.target.slice))
            if task is not None:
                times = ", ".join(f"{name} {ms:.0f}" for name, ms in task.times.items())
                _log.info("Prompt on %s=%d, ms: %s", request.target.slice.axis, request.target.slice.index, times)
            on_done(candidates)
            self.changed.emit()

        task = self.client.predict(image, request, done, on_failure)
        return task

    def focus(self, work: Work, slice_index: SliceIndex) -> None:
        """Encode this slice now and its neighbours after it; what was planned before is dropped."""
        self.start()
        key = (work.number, slice_index)
        if key != self._focus and self._lacking is None:
            self._focus, self._focus_failed = key, False

            def encoded(entry: SliceIndex) -> None:
                self._encoded.add((work.number, entry))
                self.changed.emit()

            self.client.focus(work.volume, slice_index, work.window, NEIGHBOURS, encoded, self._on_focus_failure)
            self.changed.emit()

    def encoded(self, work: Work, slice_index: SliceIndex) -> bool:
        """Whether a slice is ready for prompts."""
        return (work.number, slice_index) in self._encoded

    def preparing(self, work: Work, slice_index: SliceIndex) -> bool:
        """Whether a slice is being encoded, or about to be. If not, a prompt on it is answered all the same."""
        return self._focus == (work.number, slice_index) and not self._focus_failed and self._lacking is None

    def propagate(
        self,
        work: Work,
        labels: LabelMap,
        options: PropagationOptions,
        on_progress: OnProgress,
        on_done: OnDone,
        on_failure: OnFailure,
    ) -> Task:
        """Fill in a volume; the answer is a ``PropagationResult``."""
        self.start()
        return self.client.propagate(work.volume, labels, options, work.window, on_progress, on_done, on_failure)

    def forget(self) -> None:
        """Drop all embeddings."""
        self._encoded.clear()
        self._focus = None
        if self._client is not None:
            self._client.forget()
        self.changed.emit()

    def log_text(self) -> str:
        """The last lines of the process's own log, without the names of the scene."""
        return "" if self._client is None else _discreet(self._client.log_text())

    def poll(self) -> None:
        """Take what has come; the timer calls it."""
        if self._client is not None:
            self._client.poll()

    def close(self) -> None:
        """End the process. A later use starts it again."""
        self._timer.stop()
        client, self._client = self._client, None
        self._loaded, self.info, self._focus = None, None, None
        self._encoded.clear()
        if client is not None:
            client.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """End the process, and start none before this ends: packages that it has loaded may be replaced."""
        self.close()
        self._paused = True
        self._set_status(INSTALLING)
        try:
            yield
        finally:
            self._paused = False
            self._set_status(STARTS_LATER)

    def _look(self) -> ModelChoice | None:
        """What to load; None where something lacks for it. Nothing is imported for that."""
        self._lacking = None
        self._found = self._found or is_importable("torch")
        try:
            if self._paused:
                raise ModelError(INSTALLING)
            if not self._found:
                raise ModelError(NOT_INSTALLED)
            return self._choice()
        except ModelError as error:
            self._lacking = error
            return None

    def _on_loaded(self, info: Any) -> None:
        self.info = info
        self._set_status(" ".join((str(info), *info.warnings)))

    def _on_load_failure(self, error: Exception) -> None:
        _log.error("The model could not be loaded: %s", _discreet(error))
        self._set_status(str(error))

    def _on_focus_failure(self, error: Exception) -> None:
        _log.warning("A slice was not encoded: %s", _discreet(error))
        self._focus_failed = True
        self._set_status(str(error))

    def _on_notice(self, notice: Notice) -> None:
        _log.warning("%s", _discreet(f"{notice.text} {notice.details}"))
        if notice.restarted:
            self._encoded.clear()
        self.noticed.emit(notice.text)
        self.changed.emit()

    def _set_status(self, text: str) -> None:
        self.status = text
        self.changed.emit()


def _discreet(said: object) -> str:
    return without_names(str(said), slicer.mrmlScene)
