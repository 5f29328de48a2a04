"""Where a structure may lie along the axis: the range that the user gave, or how far the annotations carry."""

from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.propagation.annotations import Annotations

ROUNDNESS = 1.0
"""A structure known from one slice is taken to reach so many of that slice's equivalent radii to both sides."""


@dataclass(frozen=True)
class Extent:
    """The slices that a structure may occupy.

    Attributes:
        first, last: inclusive.
        first_known, last_known: whether the user said so; else it is how far the annotations carry.
        below, above: the first slices on which it is taken to have vanished; None where the volume ends before.
    """

    first: int
    last: int
    first_known: bool
    last_known: bool
    below: int | None
    above: int | None

    def holds(self, index: int) -> bool:
        """Whether the structure may be on a slice."""
        return self.first <= index <= self.last


def extent_of(annotations: Annotations, value: int, first: int | None = None, last: int | None = None) -> Extent:
    """The extent of a segment.

    Args:
        first, last: the first and the last slice of the structure, where the user knows them. A structure that
            begins or ends on the volume's outermost slice is taken to be cut off by it.

    Raises:
        GeometryError: a slice outside of the volume, or ``first`` beyond ``last``.
    """
    top = annotations.count - 1
    low, high = 0 if first is None else first, top if last is None else last
    if not 0 <= low <= high <= top:
        raise GeometryError(f"The range {low} to {high} is not one of slices 0 to {top}; correct --from and --to.")
    drawn = annotations.present(value)
    reach = _reach(annotations, value, drawn)
    below: int | None = low - 1 if first is not None else drawn[0] - reach(drawn[0])
    above: int | None = high + 1 if last is not None else drawn[-1] + reach(drawn[-1])
    assert below is not None and above is not None
    # What is drawn is there, whatever range was given.
    begin, end = min(max(below + 1, 0), drawn[0]), max(min(above - 1, top), drawn[-1])
    return Extent(
        begin,
        end,
        first is not None,
        last is not None,
        below if below >= 0 or first is None else None,
        above if above <= top or last is None else None,
    )


def _reach(annotations: Annotations, value: int, drawn: list[int]):
    """How many slices beyond an outermost drawn one the structure is taken to have vanished.

    As far as to the next drawn slice on the other side, for who annotates a few slices spreads them over the
    structure; but where they lie close together, as far as a round structure of that cross-section would go.
    """

    def reach(index: int) -> int:
        area = np.count_nonzero(annotations.masks[value][index]) * annotations.spacing[0] * annotations.spacing[1]
        round_reach = ROUNDNESS * np.sqrt(area / np.pi) / annotations.step
        gaps = np.diff(drawn)
        spread = float(gaps.max()) if len(gaps) else 0.0
        close = not len(gaps) or spread < 0.5 * round_reach
        return max(1, round(round_reach if close else spread))

    return reach
