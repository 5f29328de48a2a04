"""What a protocol is, and the common part of those that look at one slice at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from SAMFinetuneLogic.evaluation.manifest import Case
from SAMFinetuneLogic.evaluation.results import Result, Scores
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.evaluation.targets import Target, case_targets
from SAMFinetuneLogic.evaluation.users import IdealUser, NoisyUser, User
from SAMFinetuneLogic.metrics import Box, Click
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled

MODEL = "model"
NOISY_MODEL = "model, noisy user"
TOKENS_MODEL = "model, tokens alone"
POOLED_MODEL = "model, example slice"
COPIED_EXAMPLE = "example's mask copied"


@dataclass(frozen=True)
class Column:
    """A metric as a column of the tables.

    Attributes:
        metric: its key in the scores.
        title: short.
        digits: after the decimal point.
        higher_is_better: decides which parameter of a swept baseline is the best one.
    """

    metric: str
    title: str
    digits: int = 3
    higher_is_better: bool = True


@dataclass(frozen=True)
class Settings:
    """What a run measures.

    Attributes:
        max_labels: keep only so many structures of a case, the largest ones; None keeps all.
        noisy_seeds: how many times the noisy user repeats each prompt; 0 leaves that user out.
        baselines: whether to measure the baselines too.
        window: the intensity window, by the rules of :func:`SAMFinetuneLogic.imaging.windows.choose_window`.
        prompting: other forms of prompts to measure besides, of
            :data:`SAMFinetuneLogic.evaluation.prompting_forms.FORMS`; by the protocols that prompt single slices.
    """

    max_labels: int | None = None
    noisy_seeds: int = 0
    baselines: bool = True
    window: str = "auto"
    prompting: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunContext:
    """What the measurements of a run share; without a segmenter only the baselines are measured.

    ``progress`` is told how many structures of a case are measured. With ``of_model`` only what depends on the model
    is measured; the other baselines are measured apart from it, once for every model.
    """

    settings: Settings
    segmenter: Segmenter | None = None
    cancelled: CancelCheck | None = None
    progress: ProgressCallback = no_progress
    of_model: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """A final prediction for a target and the prompts that led to it, to be looked at."""

    target: Target
    mask: np.ndarray
    clicks: Sequence[Click] = ()
    box: Box | None = None


class EvaluationProtocol(Protocol):
    """A way of measuring: what is prompted, and which metrics tell how good the answer is."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """The metrics in the order of the tables."""
        ...

    @property
    def ranking(self) -> Column:
        """The metric that tells the best structures from the worst; :meth:`answer` shows what it judges."""
        ...

    def evaluate_case(self, case: Case, context: RunContext) -> list[Result]:
        """Measure everything in a case."""
        ...

    def answer(self, case: Case, result: Result, context: RunContext) -> Answer:
        """Do again what led to the model's score in ``result``, for its picture."""
        ...


class SliceProtocol(ABC):
    """Measures each structure on its largest slice; its baselines do not depend on the model."""

    def __init__(self) -> None:
        self._read: tuple[Case, int | None, str, list[Target]] | None = None

    def _targets(self, case: Case, max_labels: int | None, window: str) -> list[Target]:
        """The case's structures; those of the last case are kept."""
        if self._read is None or self._read[:3] != (case, max_labels, window):
            self._read = None  # never two cases in memory
            self._read = (case, max_labels, window, case_targets(case, max_labels, window))
        return self._read[3]

    def evaluate_case(self, case: Case, context: RunContext) -> list[Result]:
        results = []
        targets = self._targets(case, context.settings.max_labels, context.settings.window)
        for number, target in enumerate(targets):
            raise_if_cancelled(context.cancelled)
            context.progress(number, len(targets))
            results.append(self.evaluate_target(target, context))
        return results

    def answer(self, case: Case, result: Result, context: RunContext) -> Answer:
        assert context.segmenter is not None
        targets = self._targets(case, None, context.settings.window)
        return self.answer_target(next(t for t in targets if t.key == result.key), context.segmenter, IdealUser())

    @abstractmethod
    def evaluate_target(self, target: Target, context: RunContext) -> Result:
        """All methods on one structure."""

    @abstractmethod
    def answer_target(self, target: Target, segmenter: Segmenter, user: User) -> Answer:
        """The model's final prediction."""


def noisy_mean(target: Target, seeds: int, measure: Callable[[User], Scores]) -> Scores:
    """The mean of each metric over the repeats of the noisy user."""
    repeats = [measure(NoisyUser(seed, target.key)) for seed in range(seeds)]
    return {metric: float(np.mean([scores[metric] for scores in repeats])) for metric in repeats[0]}
