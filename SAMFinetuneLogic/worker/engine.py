"""The model and what it answers: the same for the inference process and for a client that computes itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice
from SAMFinetuneLogic.propagation.volume import propagate_volume
from SAMFinetuneLogic.worker.adapter_work import apply_adapter, with_adapter
from SAMFinetuneLogic.worker.answers import CutCandidates, ModelInfo
from SAMFinetuneLogic.worker.fewshot_work import apply_collection, change_collection, fit_collection
from SAMFinetuneLogic.worker.requests import (
    Apply,
    ApplyAdapter,
    Collect,
    Embed,
    Fit,
    Load,
    ModelChoice,
    Predict,
    Propagate,
    Request,
)


@dataclass
class Course:
    """How a request is followed on its way.

    Attributes:
        progress, cancelled: for long work.
        times: milliseconds of each stage, filled in.
    """

    progress: ProgressCallback = no_progress
    cancelled: CancelCheck | None = None
    times: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        start = time.perf_counter()
        yield
        self.times[name] = self.times.get(name, 0.0) + 1000 * (time.perf_counter() - start)


class Engine:
    """One loaded model with its cache of embeddings. Clicks and one long work may be asked for by two threads."""

    def __init__(self) -> None:
        self._predictor: SlicePredictor | None = None
        self._cache = EmbeddingCache()
        self._cache_facts: tuple[object, ...] = ()
        self._told = 0
        self._choice = ModelChoice()
        self._info: ModelInfo | None = None

    def answer(self, request: Request, course: Course) -> Any:
        """What the request's class says.

        Raises:
            SAMFinetuneError: with a sentence for the user.
        """
        match request:
            case Load():
                return self._load(request.choice)
            case Embed():
                with course.stage("embed"):
                    self._retried(lambda predictor: predictor.embed(request.image))
                return None
            case Predict():
                return self._predict(request, course)
            case Propagate():
                return propagate_volume(
                    request.volume,
                    request.labels,
                    self._model(),
                    request.options,
                    request.window,
                    self._cache,
                    course.progress,
                    course.cancelled,
                )
            case Collect():
                return change_collection(request, self._model(), self._cache, course.progress, course.cancelled)
            case Fit():
                return fit_collection(request, self._model(), self._cache, course.progress, course.cancelled)
            case Apply():
                return apply_collection(request, self._model(), self._cache, course.progress, course.cancelled)
            case ApplyAdapter():
                return apply_adapter(request, self._base(), course.progress, course.cancelled)

    def forget(self) -> None:
        """Drop all embeddings."""
        self._cache.clear()

    def new_warnings(self) -> list[str]:
        """What the model had to say since the last call, such as that it moved to the CPU."""
        if self._predictor is None:
            return []
        warnings = self._predictor.model.warnings[self._told :]
        self._told += len(warnings)
        return warnings

    def _load(self, choice: ModelChoice) -> ModelInfo:
        if self._predictor is not None and self._info is not None and _another_cache_alone(self._choice, choice):
            self._choice = choice
            self._set_cache(choice)
            model = self._predictor.model
            self._predictor = SlicePredictor(model, self._cache)
            return replace(self._info, device=str(model.device), warnings=tuple(model.warnings))
        self._predictor = self._info = None  # its memory is needed for the next one
        model = load_model(choice.model, choice.device, choice.precision, choice.folder)
        self._choice = choice
        if choice.adapter is not None:
            model = with_adapter(model, choice.adapter)
        self._set_cache(choice)
        self._predictor = SlicePredictor(model, self._cache)
        self._told = len(model.warnings)
        entry = model.entry
        self._info = ModelInfo(
            description=model.description,
            id=entry.id,
            title=entry.title,
            licence=entry.licence,
            non_commercial=entry.non_commercial,
            sha256=model.weights_sha256,
            device=str(model.device),
            precision=model.precision,
            prompts=tuple(entry.prompts),
            adapter=choice.adapter,
            warnings=tuple(model.warnings),
        )
        return self._info

    def _set_cache(self, choice: ModelChoice) -> None:
        facts = (choice.cache_mb, choice.cache_folder, choice.cache_disk_mb)
        if facts != self._cache_facts:
            self._cache = EmbeddingCache(choice.cache_mb * 2**20, choice.cache_folder, choice.cache_disk_mb * 2**20)
            self._cache_facts = facts

    def _predict(self, request: Predict, course: Course) -> CutCandidates:
        with course.stage("embed"):
            embedded = self._embedded(request.image)
        with course.stage("decode"):
            candidates = self._retried(
                lambda predictor: predict_slice(
                    predictor,
                    embedded,
                    request.prompts,
                    request.feedback,
                    refine_alternatives=request.alternatives,
                )
            )
        with course.stage("cut"):
            return CutCandidates.of(candidates)

    def _embedded(self, image: SliceImage) -> EmbeddedSlice:
        embedded: EmbeddedSlice = self._retried(lambda predictor: predictor.embed(image))
        return embedded

    def _model(self) -> LoadedModel:
        return self._ready().model

    def _base(self) -> LoadedModel:
        """The model without the adapter that prompts are answered with."""
        model, choice = self._model(), self._choice
        if choice.adapter is None:
            return model
        return load_model(choice.model, str(model.device), choice.precision, choice.folder)

    def _ready(self) -> SlicePredictor:
        if self._predictor is None:
            raise ModelError("No model is loaded; choose one.")
        return self._predictor

    def _retried(self, work: Callable[[SlicePredictor], Any]) -> Any:
        """Work that is done once more if the model moved to the CPU meanwhile, as the other thread may cause."""
        predictor = self._ready()
        device = predictor.model.device
        try:
            return work(predictor)
        except RuntimeError:
            if predictor.model.device == device:
                raise
        return work(predictor)


def _another_cache_alone(old: ModelChoice, new: ModelChoice) -> bool:
    """Whether two choices differ, and only in where embeddings are kept. The same one again asks for a fresh start."""
    same = replace(old, cache_mb=new.cache_mb, cache_folder=new.cache_folder, cache_disk_mb=new.cache_disk_mb) == new
    return same and old != new
