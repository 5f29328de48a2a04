"""Several opinions become one: the mean of their levels, weighted by how far each is to be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.propagation.levels import Bounds, Patch, nothing, union_bounds
from SAMFinetuneLogic.propagation.reliability import odds


@dataclass(frozen=True, eq=False)
class Opinion:
    """What a candidate says about a segment on a slice, and how much error (1 - Dice) is expected in it.

    Attributes:
        name: of the candidate.
        patch: the levels.
        error: expected.
        of_network: the model was asked.
    """

    name: str
    patch: Patch
    error: float
    of_network: bool = False

    @property
    def weight(self) -> float:
        """Inverse to the fourth power of the odds of an error.

        Independent measurements would take the square; but candidates err together, and the mean of a good and a poor
        one is worse than the good one. Measured on the development cases: squares lose 0.01 of Dice. Where all are
        poor, odds tell the better from the worse: the errors themselves, near 1, are almost alike.
        """
        return 1.0 / (odds(self.error) + 0.02) ** 4


def network_share(opinions: Sequence[Opinion]) -> float:
    """The model's part in the fusion, 0 to 1."""
    total = sum(opinion.weight for opinion in opinions)
    return sum(opinion.weight for opinion in opinions if opinion.of_network) / total if total else 0.0


def fuse(opinions: Sequence[Opinion], shape: tuple[int, int]) -> Patch:
    """The weighted mean of the levels; nothing if there are no opinions."""
    bounds = union_bounds([opinion.patch for opinion in opinions])
    if bounds is None:
        return nothing(shape)
    total = sum(opinion.weight for opinion in opinions)
    mean = sum(opinion.patch.levels(bounds) * np.float32(opinion.weight / total) for opinion in opinions)
    return Patch.of(np.asarray(mean), shape, bounds[0], bounds[1])


def compose(patches: Mapping[int, Patch]) -> tuple[Bounds, np.ndarray] | None:
    """Labels without overlap: each pixel goes to the segment with the highest level above 0, the first if equal.

    Returns:
        A rectangle of the slice and its labels (int64), 0 where there is no segment; None if all are absent.
    """
    bounds = union_bounds(list(patches.values()))
    if bounds is None:
        return None
    levels = np.stack([patch.levels(bounds) for patch in patches.values()])
    values = np.array([0, *patches])
    best = np.concatenate([np.zeros_like(levels[:1]), levels]).argmax(axis=0)
    return bounds, values[best]
