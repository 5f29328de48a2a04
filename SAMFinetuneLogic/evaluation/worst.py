"""The cases and structures on which a model does worst, with numbers that help to say why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Column
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.results import Result
from SAMFinetuneLogic.evaluation.tables import table
from SAMFinetuneLogic.evaluation.traits import TITLES, conspicuous


@dataclass(frozen=True)
class Worst:
    """The bottom of a ranking.

    Attributes:
        ranking: the metric.
        cases: each of the worst cases with its mean, the worst one first.
        of_cases: the worst structure of each of them.
        structures: the worst structures of all cases, the worst one first.
        trait_correlations: trait -> Spearman's correlation with the metric over all structures.
    """

    ranking: Column
    cases: tuple[tuple[str, float], ...]
    of_cases: tuple[Result, ...]
    structures: tuple[Result, ...]
    trait_correlations: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Fit for :func:`SAMFinetuneLogic.files.write_json`."""
        return {
            "metric": self.ranking.metric,
            "cases": [{"case": case, "mean": mean} for case, mean in self.cases],
            "of_cases": [asdict(result) for result in self.of_cases],
            "structures": [asdict(result) for result in self.structures],
            "trait_correlations": self.trait_correlations,
        }


def find_worst(report: EvaluationReport, ranking: Column, count: int) -> Worst:
    """The ``count`` worst cases and the ``count`` worst structures by a metric of the model.

    Raises:
        InputError: the report has no results of a model.
    """
    scored = [result for result in report.results if ranking.metric in result.scores.get(MODEL, {})]
    if not scored:
        raise InputError("The worst cases are those of a model; evaluate a model, not the baselines alone.")
    sign = 1 if ranking.higher_is_better else -1

    def rank(result: Result) -> float:
        return sign * result.scores[MODEL][ranking.metric]

    means = {}
    for case in dict.fromkeys(result.case for result in scored):
        mean = report.mean(MODEL, ranking.metric, case=case)
        assert mean is not None
        means[case] = mean.mean
    cases = sorted(means, key=lambda case: sign * means[case])[:count]
    return Worst(
        ranking,
        tuple((case, means[case]) for case in cases),
        tuple(min((result for result in scored if result.case == case), key=rank) for case in cases),
        tuple(sorted(scored, key=rank)[:count]),
        _trait_correlations(scored, ranking),
    )


def format_worst(worst: Worst) -> str:
    """Two tables, of cases and of structures, as lines of text."""
    means = [[f"{mean:.{worst.ranking.digits}f}"] for _, mean in worst.cases]
    parts = [
        f"Worst {len(worst.cases)} cases by {worst.ranking.title}, each with its worst structure",
        _table(worst.of_cases, worst.ranking, ["mean"], means),
        f"Worst {len(worst.structures)} structures by {worst.ranking.title}",
        _table(worst.structures, worst.ranking, [], [[] for _ in worst.structures]),
    ]
    if worst.trait_correlations:
        correlations = ", ".join(f"{TITLES[name]} {value:+.2f}" for name, value in worst.trait_correlations.items())
        parts.append(f"Spearman's correlation of {worst.ranking.title} with: {correlations}")
    return "\n".join(parts)


def _table(results: Sequence[Result], ranking: Column, extra: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    traits = [name for name in TITLES if any(name in result.traits for result in results)]
    lines = [["case, structure", *extra, "worst" if extra else "score", *(TITLES[name] for name in traits), "notable"]]
    for result, more in zip(results, cells, strict=True):
        score = f"{result.scores[MODEL][ranking.metric]:.{ranking.digits}f}"
        numbers = [f"{result.traits[name]:.3g}" if name in result.traits else "-" for name in traits]
        notable = conspicuous(result.traits) if result.traits else ""
        lines.append([f"{result.case}, {result.name} (k {result.index})", *more, score, *numbers, notable])
    width = max(len(line[-1]) for line in lines)
    return table([[*line[:-1], line[-1].ljust(width)] for line in lines])


def _trait_correlations(results: Sequence[Result], ranking: Column) -> dict[str, float]:
    from scipy.stats import spearmanr

    correlations = {}
    for name in TITLES:
        pairs = np.array(
            [(r.traits[name], r.scores[MODEL][ranking.metric]) for r in results if name in r.traits], dtype=float
        ).reshape(-1, 2)
        if len(pairs) > 2 and np.ptp(pairs, axis=0).min() > 0:
            correlations[name] = float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
    return correlations
