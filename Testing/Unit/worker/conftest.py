"""A volume, and clients that real processes stand behind."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.prompts import PointPrompt
from SAMFinetuneLogic.prompting.session import InteractiveSession, PredictionRequest
from SAMFinetuneLogic.prompting.session_state import Target
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.worker.client import RemoteClient
from SAMFinetuneLogic.worker.requests import ModelChoice

WINDOW = Window(0.0, 200.0, "full")


@pytest.fixture
def a_choice(a_checkpoint: Path) -> ModelChoice:
    return ModelChoice(str(a_checkpoint), device="cpu")


@pytest.fixture(scope="session")
def a_truth() -> LabelMap:
    """(k, j, i) = (24, 40, 44): an ellipsoid on slices 3 to 20."""
    k, j, i = np.indices((24, 40, 44))
    inside = ((k - 11.5) / 9) ** 2 + ((j - 20) / 12) ** 2 + ((i - 20) / 11) ** 2 <= 1
    return LabelMap(inside.astype(np.uint8), np.diag([-1.0, 0.9, 2.5, 1.0]))


@pytest.fixture(scope="session")
def a_volume(a_truth: LabelMap) -> Volume:
    noise = np.random.default_rng(0).normal(0, 6, a_truth.shape)
    return Volume((60 + 90 * a_truth.voxels + noise).astype(np.int16), a_truth.ijk_to_ras, modality="MR", name="ball")


@pytest.fixture
def some_labels(a_truth: LabelMap) -> LabelMap:
    """The truth on three slices."""
    voxels = np.zeros_like(a_truth.voxels)
    voxels[[5, 11, 18]] = a_truth.voxels[[5, 11, 18]]
    return LabelMap(voxels, a_truth.ijk_to_ras, a_truth.segments)


@pytest.fixture
def ask(a_volume: Volume) -> Callable[..., tuple[SliceImage, PredictionRequest]]:
    """Call with a slice index and pixels (row, col): the slice, and what to ask of it."""

    def make(index: int, *clicks: tuple[float, float], axis: Any = "k") -> tuple[SliceImage, PredictionRequest]:
        session = InteractiveSession(a_volume)
        for row, col in clicks:
            position = a_volume.slice_to_ras(np.array([[index, row, col]]), axis)[0]
            session.add_prompt("ball", axis, PointPrompt(tuple(position)))
        where = SliceIndex(axis, index)
        request = session.request(Target("ball", where))
        assert request is not None
        return SliceImage.of(a_volume, where, WINDOW), request

    return make


class Polled:
    """A client and the user interface's timer."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.notices: list[Any] = []
        self.slowest = 0.0
        client.on_notice = self.notices.append

    def until(self, condition: Callable[[], bool], seconds: float = 40.0) -> None:
        """Poll every 5 ms until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"Nothing happened in {seconds} s:\n{self.client.log_text()}"
            start = time.perf_counter()
            self.client.poll()
            self.slowest = max(self.slowest, time.perf_counter() - start)
            time.sleep(0.005)

    def finish(self, *tasks: Any) -> Any:
        """Poll until the tasks are finished and delivered; the answer of the last one."""
        self.until(lambda: all(task.finished for task in tasks))
        self.until(lambda: not self.client._events)
        for task in tasks:
            if task.error is not None:
                raise task.error
        return tasks[-1].answer


@pytest.fixture(scope="session")
def shared_client(a_checkpoint: Path) -> Iterator[Polled]:
    """One process for the tests that leave it alive, with the tiny model."""
    polled = Polled(RemoteClient())
    polled.finish(polled.client.load(ModelChoice(str(a_checkpoint), device="cpu")))
    yield polled
    polled.client.close()


@pytest.fixture
def remote(shared_client: Polled) -> Iterator[Polled]:
    """The shared process, with nothing to do before and after."""
    shared_client.notices.clear()
    yield shared_client
    shared_client.until(lambda: not shared_client.client.busy)


@pytest.fixture
def new_client() -> Iterator[Callable[..., Polled]]:
    """Makes clients whose process may be killed."""
    made: list[Polled] = []

    def make(client: Any = None) -> Polled:
        made.append(Polled(client or RemoteClient()))
        return made[-1]

    yield make
    for polled in made:
        polled.client.close()
