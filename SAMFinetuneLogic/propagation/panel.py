"""All candidates at once: measured on the annotated slices, heard on the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.auto_context import AutoContext
from SAMFinetuneLogic.propagation.candidate import Candidate, Opinions
from SAMFinetuneLogic.propagation.fusion import Opinion, fuse
from SAMFinetuneLogic.propagation.levels import Patch
from SAMFinetuneLogic.propagation.reliability import ErrorCurve, Evidence, expected_error, typical_gap

FUSED = "fused"
"""Name of the fusion among the evidence."""


class Judged(Protocol):
    """Whoever has an opinion: its name, and the error to expect of it before anything is known."""

    @property
    def name(self) -> str: ...

    @property
    def of_network(self) -> bool: ...

    @property
    def curve(self) -> ErrorCurve: ...


@dataclass(frozen=True, eq=False)
class Heard:
    """A slice with one annotated slice left out: the opinions of those that had one, and how they fared."""

    value: int
    index: int
    opinions: tuple[tuple[Judged, Patch, float], ...]
    truth: np.ndarray


class Panel:
    """Candidates, and what is known about each.

    Args:
        candidates: in any order; equal weights are equal whatever the order.
        annotations: of the volume.
        context: learns from the candidates' errors on the slices that are left out, and then has its say too.
    """

    def __init__(
        self, candidates: Sequence[Candidate], annotations: Annotations, context: AutoContext | None = None
    ) -> None:
        self._candidates = tuple(candidates)
        self._annotations = annotations
        self._context = context
        self._fitted: dict[str, Opinions] = {}
        self._gaps = {value: typical_gap(annotations, value) for value in annotations.masks}
        self.evidence: tuple[Evidence, ...] = ()

    def measure(self, indices: Sequence[int], on_slice: Callable[[], None] = lambda: None) -> None:
        """Leave each of ``indices`` out in turn; then :attr:`evidence` holds the outcome, the fusion's included."""
        heard: list[Heard] = []
        for index in indices:
            reduced = self._annotations.without(index)
            values = [
                value for value in reduced.masks if index in self._annotations.present(value) and reduced.present(value)
            ]
            if values:
                fitted = {candidate.name: candidate.fit(reduced) for candidate in self._candidates}
                heard += [self._hear(fitted, value, index) for value in values]
            on_slice()
        single = [each for entry in heard for each in self._judged(entry)]
        if self._context is not None:
            learned = self._learned(self._context, heard, single)
            single += [each for entry in learned for each in self._judged(entry)]
            heard = [
                replace(entry, opinions=entry.opinions + more.opinions)
                for entry, more in zip(heard, learned, strict=True)
            ]
        together = [self._fusion_judged(entry, single) for entry in heard]
        self.evidence = (*single, *together)

    def opinions(self, value: int, index: int) -> list[Opinion]:
        """What the candidates say about a slice that is not annotated."""
        if not self._fitted:
            self._fitted = {candidate.name: candidate.fit(self._annotations) for candidate in self._candidates}
        heard = []
        for candidate in self._candidates:
            fitted = self._fitted[candidate.name]
            patch = fitted.predict(value, index)
            if patch is not None:
                gaps = fitted.distance(value, index) / self._gaps[value]
                heard.append(self._opinion(candidate, value, patch, gaps, self.evidence))
        if self._context is not None and heard:
            corrected = self._context.correct(value, index, fuse(heard, self._annotations.shape))
            if corrected is not None:
                gaps = self._annotations.distance(value, index) / self._gaps[value]
                heard.append(self._opinion(self._context.judged(value), value, corrected, gaps, self.evidence))
        return heard

    def gaps(self, value: int) -> float:
        """The typical distance between annotated slices, in slices."""
        return self._gaps[value]

    def _hear(self, fitted: dict[str, Opinions], value: int, index: int) -> Heard:
        opinions = []
        for candidate in self._candidates:
            distance = fitted[candidate.name].distance(value, index)
            patch = fitted[candidate.name].predict(value, index) if np.isfinite(distance) else None
            if patch is not None:
                opinions.append((candidate, patch, distance / self._gaps[value]))
        return Heard(value, index, tuple(opinions), self._annotations.masks[value][index])

    def _learned(self, context: AutoContext, heard: Sequence[Heard], evidence: Sequence[Evidence]) -> list[Heard]:
        """The opinions of ``context`` alone, which learns from what the candidates said together."""
        expected: dict[int, dict[int, Patch]] = {}
        for entry in heard:
            expected.setdefault(entry.value, {})[entry.index] = self._fused(entry, evidence)
        found = {value: context.learn(value, patches) for value, patches in expected.items()}
        learned = []
        for entry in heard:
            patch = found[entry.value].get(entry.index)
            gaps = min((gaps for _, _, gaps in entry.opinions), default=1.0)
            learned.append(replace(entry, opinions=() if patch is None else ((context, patch, gaps),)))
        return learned

    def _judged(self, heard: Heard) -> list[Evidence]:
        return [
            Evidence(candidate.name, heard.value, heard.index, dice(patch.mask(), heard.truth), gaps)
            for candidate, patch, gaps in heard.opinions
        ]

    def _fusion_judged(self, heard: Heard, evidence: Sequence[Evidence]) -> Evidence:
        fused = self._fused(heard, evidence)
        gaps = min((gaps for _, _, gaps in heard.opinions), default=1.0)
        return Evidence(FUSED, heard.value, heard.index, dice(fused.mask(), heard.truth), gaps)

    def _fused(self, heard: Heard, evidence: Sequence[Evidence]) -> Patch:
        """The fusion on a slice, with weights to which that slice has not contributed."""
        others = [each for each in evidence if each.index != heard.index]
        opinions = [
            self._opinion(candidate, heard.value, patch, gaps, others) for candidate, patch, gaps in heard.opinions
        ]
        return fuse(opinions, heard.truth.shape)

    def _opinion(
        self, candidate: Judged, value: int, patch: Patch, gaps: float, evidence: Sequence[Evidence]
    ) -> Opinion:
        own = [each for each in evidence if each.candidate == candidate.name and each.value == value]
        return Opinion(candidate.name, patch, expected_error(candidate.curve, own, gaps), candidate.of_network)
