"""From numbers per structure to numbers per case, per modality and over all.

A mean is always taken over the structures of each case first, then over the cases; the spread is the standard
deviation of the cases, and where there is one case alone, of its structures. A case with several pairs has the
structures of all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from SAMFinetuneLogic.evaluation.adapter_gains import adapter_gains
from SAMFinetuneLogic.evaluation.candidate_ranks import rank_correlation, rank_correlation_within
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Column
from SAMFinetuneLogic.evaluation.results import Result


@dataclass(frozen=True)
class Mean:
    """Mean and spread, and how many cases and structures there were."""

    mean: float
    spread: float
    cases: int
    structures: int


@dataclass(frozen=True)
class EvaluationReport:
    """The outcome of a run.

    Attributes:
        protocol: its name.
        columns: its metrics.
        model: the segmenter's description, None if only baselines were measured.
        settings: of the run, fit for JSON.
        results: per structure, in the manifest's order. The methods that were granted their best parameter are
            among the scores.
        best_parameters: method -> metric -> the parameter that is best for this metric over all cases.
    """

    protocol: str
    columns: tuple[Column, ...]
    model: Mapping[str, Any] | None
    settings: Mapping[str, Any]
    results: tuple[Result, ...]
    best_parameters: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(
        cls,
        protocol: str,
        columns: tuple[Column, ...],
        model: Mapping[str, Any] | None,
        settings: Mapping[str, Any],
        results: Sequence[Result],
    ) -> "EvaluationReport":
        """Gather the results, and give each swept method the parameter that is best for each metric."""
        best = {
            method: _best_parameters(results, method, columns)
            for method in dict.fromkeys(method for result in results for method in result.sweeps)
        }
        return cls(protocol, columns, model, settings, tuple(_with_best(result, best) for result in results), best)

    @property
    def methods(self) -> list[str]:
        """In the order of the tables."""
        return list(dict.fromkeys(method for result in self.results for method in result.scores))

    @property
    def modalities(self) -> list[str]:
        """In the manifest's order."""
        return list(dict.fromkeys(result.modality for result in self.results))

    @property
    def cases(self) -> list[str]:
        """In the manifest's order."""
        return list(dict.fromkeys(result.case for result in self.results))

    def mean(self, method: str, metric: str, modality: str | None = None, case: str | None = None) -> Mean | None:
        """The mean over all structures, or those of a modality or a case; None if there is nothing to average."""
        values = [
            (result.case, result.scores[method][metric])
            for result in self.results
            if modality in (None, result.modality)
            and case in (None, result.case)
            and metric in result.scores.get(method, {})
        ]
        return _case_mean(values) if values else None

    def gain_of_best(self) -> float | None:
        """How much better the best of three alternatives is than the first answer to one click, in Dice."""
        first, best = (self.mean(MODEL, metric) for metric in ("dice_1", "best_1"))
        return None if first is None or best is None else best.mean - first.mean

    def to_json(self) -> dict[str, Any]:
        """Everything, fit for :func:`SAMFinetuneLogic.files.write_json`."""
        return {
            "protocol": self.protocol,
            "model": self.model,
            "settings": dict(self.settings),
            "overall": self._summary(),
            "by_modality": {modality: self._summary(modality=modality) for modality in self.modalities},
            "by_case": {case: self._summary(case=case) for case in self.cases},
            "rank_correlation": rank_correlation(self.results),
            "rank_correlation_within": rank_correlation_within(self.results),
            "gain_of_best": self.gain_of_best(),
            "adapter_gains": [asdict(gains) for gains in adapter_gains(self.results)],
            "best_parameters": self.best_parameters,
            "results": [asdict(result) for result in self.results],
        }

    def _summary(self, **selection: str) -> dict[str, Any]:
        summary: dict[str, Any] = {}
        for method in self.methods:
            means = {column.metric: self.mean(method, column.metric, **selection) for column in self.columns}
            summary[method] = {metric: asdict(mean) for metric, mean in means.items() if mean is not None}
        return summary


def _case_mean(values: Iterable[tuple[str, float]]) -> Mean:
    """From (case, value), at least one."""
    by_case: dict[str, list[float]] = {}
    for case, value in values:
        by_case.setdefault(case, []).append(value)
    means = [float(np.mean(of_case)) for of_case in by_case.values()]
    structures = [value for of_case in by_case.values() for value in of_case]
    spread = np.std(means if len(means) > 1 else structures)
    return Mean(float(np.mean(means)), float(spread), len(means), len(structures))


def _best_parameters(results: Sequence[Result], method: str, columns: Sequence[Column]) -> dict[str, str]:
    """Metric -> the parameter with the best mean over all cases."""
    sweeps = [(result.case, result.sweeps[method]) for result in results if method in result.sweeps]
    best: dict[str, str] = {}
    for column in columns:
        means: dict[str, float] = {}
        for parameter in sweeps[0][1]:
            if column.metric in sweeps[0][1][parameter]:
                values = [(case, sweep[parameter][column.metric]) for case, sweep in sweeps]
                means[parameter] = _case_mean(values).mean * (1 if column.higher_is_better else -1)
        if means:
            best[column.metric] = max(means, key=lambda parameter: means[parameter])
    return best


def _with_best(result: Result, best: Mapping[str, Mapping[str, str]]) -> Result:
    scores = dict(result.scores)
    for method, parameters in best.items():
        if method in result.sweeps:
            scores[method] = {metric: result.sweeps[method][p][metric] for metric, p in parameters.items()}
    return replace(result, scores=scores)
