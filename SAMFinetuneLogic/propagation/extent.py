"""Where a structure may lie along the axis: the range that the user gave, or how far the annotations carry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.propagation.annotations import Annotations

CLOSE = 0.5
"""Drawn slices that span less than this part of the structure's radius lie close together; direct neighbours, which
nobody would draw to sample a structure, also where they span less than all of it."""

ELONGATION = 1.4
"""How far a structure reaches beyond a slice on which it is large, in radii of its section: more than a ball does. The
median of the development cases, of which a tenth reach less than 0.7 and a tenth more than 2.6 times as far."""

LEAST_REACH = 3
"""But so many slices at least: where slices are thick, what is thin goes on all the same, in a spinal cord for one."""


@dataclass(frozen=True)
class Extent:
    """The slices that a structure may occupy.

    Attributes:
        first, last: inclusive.
        first_known, last_known: whether the user said so; else it is how far the annotations carry, and at most up to
            a slice beyond that was annotated as empty.
        below, above: the first slices on which it is taken to have vanished; None where the volume ends before: it
            is taken to be cut off there.
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

    def known_ends(self, drawn: Sequence[int]) -> list[int]:
        """The slices next to the range that the user gave, on which the structure is absent, beyond all drawn ones."""
        below, above = self.below if self.first_known else None, self.above if self.last_known else None
        low = [below] if below is not None and below < min(drawn) else []
        return [*low, *([above] if above is not None and above > max(drawn) else [])]


def extent_of(annotations: Annotations, value: int, first: int | None = None, last: int | None = None) -> Extent:
    """The extent of a segment.

    Args:
        first, last: the first and the last slice of the structure, where the user knows them.

    Raises:
        GeometryError: a slice outside of the volume, or ``first`` beyond ``last``.
    """
    top = annotations.count - 1
    low, high = 0 if first is None else first, top if last is None else last
    if not 0 <= low <= high <= top:
        raise GeometryError(f"The range {low} to {high} is not one of slices 0 to {top}; correct --from and --to.")
    drawn = annotations.present(value)
    reach = _reach(annotations, value, drawn)
    empty_below, empty_above = empty_beyond(annotations, value)
    below = low - 1 if first is not None else drawn[0] - reach(drawn[0])
    above = high + 1 if last is not None else drawn[-1] + reach(drawn[-1])
    if first is None and empty_below is not None:
        below = max(below, empty_below)
    if last is None and empty_above is not None:
        above = min(above, empty_above)
    # What is drawn is there, whatever range was given.
    begin, end = min(max(below + 1, 0), drawn[0]), max(min(above - 1, top), drawn[-1])
    return Extent(
        begin,
        end,
        first is not None,
        last is not None,
        below if below >= 0 else None,
        above if above <= top else None,
    )


def empty_beyond(annotations: Annotations, value: int) -> tuple[int | None, int | None]:
    """The nearest slices before and after all drawn ones that were annotated without the segment."""
    drawn, known = annotations.present(value), annotations.known(value)
    before = [index for index in known if index < drawn[0]]
    after = [index for index in known if index > drawn[-1]]
    return max(before, default=None), min(after, default=None)


def _reach(annotations: Annotations, value: int, drawn: list[int]) -> Callable[[int], int]:
    """How many slices beyond an outermost drawn one the structure is taken to have vanished.

    Who annotates a few slices spreads them over the structure: it ends one typical gap further on, and is gone one
    slice later. But a single slice, or slices that lie close together, do not tell how long the structure is: then
    as far as structures of that cross-section go.
    """
    span = drawn[-1] - drawn[0]

    def radius(index: int) -> float:
        area = np.count_nonzero(annotations.masks[value][index]) * annotations.spacing[0] * annotations.spacing[1]
        return float(np.sqrt(area / np.pi) / annotations.step)

    neighbours = span == len(drawn) - 1
    limit = (1.0 if neighbours else CLOSE) * max(radius(index) for index in drawn)

    def reach(index: int) -> int:
        if span < limit:
            return max(LEAST_REACH, round(ELONGATION * radius(index)))
        return 1 + round(span / (len(drawn) - 1))

    return reach
