"""All candidates at once: measured on the annotated slices, heard on the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.candidate import Candidate, Opinions
from SAMFinetuneLogic.propagation.fusion import Opinion, fuse
from SAMFinetuneLogic.propagation.levels import Patch
from SAMFinetuneLogic.propagation.reliability import Evidence, expected_error, typical_gap

FUSED = "fused"
"""Name of the fusion among the evidence."""


@dataclass(frozen=True, eq=False)
class Heard:
    """A slice with one annotated slice left out: the opinions of those that had one, and how they fared."""

    value: int
    index: int
    opinions: tuple[tuple[Candidate, Patch, float], ...]
    truth: np.ndarray


class Panel:
    """Candidates, and what is known about each.

    Args:
        candidates: in any order; equal weights are equal whatever the order.
        annotations: of the volume.
    """

    def __init__(self, candidates: Sequence[Candidate], annotations: Annotations) -> None:
        self._candidates = tuple(candidates)
        self._annotations = annotations
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
                heard.append(Opinion(candidate.name, patch, self._error(candidate, value, gaps, self.evidence)))
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

    def _judged(self, heard: Heard) -> list[Evidence]:
        return [
            Evidence(candidate.name, heard.value, heard.index, dice(patch.mask(), heard.truth), gaps)
            for candidate, patch, gaps in heard.opinions
        ]

    def _fusion_judged(self, heard: Heard, evidence: Sequence[Evidence]) -> Evidence:
        """The fusion on a slice, with weights to which that slice has not contributed."""
        others = [each for each in evidence if each.index != heard.index]
        opinions = [
            Opinion(candidate.name, patch, self._error(candidate, heard.value, gaps, others))
            for candidate, patch, gaps in heard.opinions
        ]
        fused = fuse(opinions, heard.truth.shape)
        gaps = min((gaps for _, _, gaps in heard.opinions), default=1.0)
        return Evidence(FUSED, heard.value, heard.index, dice(fused.mask(), heard.truth), gaps)

    def _error(self, candidate: Candidate, value: int, gaps: float, evidence: Sequence[Evidence]) -> float:
        own = [each for each in evidence if each.candidate == candidate.name and each.value == value]
        return expected_error(candidate.curve, own, gaps)
