"""What adapting brought, adapter by adapter: how many were accepted, and what those did to the answer to one click."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.evaluation.protocols.finetune import ADAPTED, IN_USE
from SAMFinetuneLogic.evaluation.results import Result

_ACCEPTED, _GAIN = "accepted_", "gain_"


@dataclass(frozen=True)
class AdapterGains:
    """All adapters that were made from so many annotated slices; gains are in Dice with one click.

    Attributes:
        count: of annotated slices.
        adapters, accepted: how many were made, and how many the gate accepted.
        gain: mean over all cases of the mean over their structures, where a refused adapter counts as 0.
        raw_gain: the same as if all had been accepted.
        accepted_gain: mean over the accepted adapters; None without any.
        worst: the smallest gain of an accepted adapter, over its structures.
        worst_case: whose it is.
    """

    count: int
    adapters: int
    accepted: int
    gain: float
    raw_gain: float
    accepted_gain: float | None
    worst: float | None
    worst_case: str | None

    def sentence(self) -> str:
        """For the report."""
        text = (
            f"{self.count} slices: {self.accepted} of {self.adapters} adapters accepted; one click {self.gain:+.3f} "
            f"Dice over all cases, a refused one counting as 0 ({self.raw_gain:+.3f} without the gate)"
        )
        if self.worst is None:
            return f"{text}."
        return f"{text}; {self.accepted_gain:+.3f} where accepted, at worst {self.worst:+.3f} ({self.worst_case})."


def adapter_gains(results: Sequence[Result]) -> tuple[AdapterGains, ...]:
    """One entry for each number of annotated slices; none where nothing was adapted."""
    metrics = {metric for result in results for metric in result.scores.get(IN_USE, {})}
    counts = sorted(int(metric.removeprefix(_ACCEPTED)) for metric in metrics if metric.startswith(_ACCEPTED))
    return tuple(_gains(results, count) for count in counts)


def _gains(results: Sequence[Result], count: int) -> AdapterGains:
    gain, verdict = f"{_GAIN}{count}", f"{_ACCEPTED}{count}"
    measured = [result for result in results if verdict in result.scores.get(IN_USE, {})]
    by_adapter: dict[tuple[str, str, str], list[Result]] = {}
    for result in measured:
        by_adapter.setdefault((result.case, result.image, result.label_map), []).append(result)
    accepted = {
        key: float(np.mean([result.scores[ADAPTED][gain] for result in made]))
        for key, made in by_adapter.items()
        if made[0].scores[IN_USE][verdict]
    }
    worst = min(accepted, key=lambda key: accepted[key], default=None)
    return AdapterGains(
        count,
        len(by_adapter),
        len(accepted),
        _over_cases(measured, IN_USE, gain),
        _over_cases(measured, ADAPTED, gain),
        float(np.mean(list(accepted.values()))) if accepted else None,
        None if worst is None else accepted[worst],
        None if worst is None else worst[0],
    )


def _over_cases(results: Sequence[Result], method: str, metric: str) -> float:
    by_case: dict[str, list[float]] = {}
    for result in results:
        by_case.setdefault(result.case, []).append(result.scores[method][metric])
    return float(np.mean([np.mean(values) for values in by_case.values()]))
