"""The slices in order of doubt: what stands behind the Review section. No Qt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import AXES, SliceIndex
from SAMFinetuneLogic.mrml.annotated import mark_annotated

if TYPE_CHECKING:
    from SAMFinetuneLogic.propagation.result import PropagationResult  # brings scipy, too slow for opening the module


@dataclass(frozen=True)
class ReviewEntry:
    """A slice of a segment that was filled in.

    Attributes:
        segment: id.
        slice: where.
        doubt: how many pixels are in doubt.
        distance: to the nearest annotated slice, in slices.
    """

    segment: str
    slice: SliceIndex
    doubt: float
    distance: float


class Review:
    """The queue, most doubtful first, and the place in it.

    Args:
        go_to: shows a slice to the user.

    Attributes:
        changed: emitted when the queue or the place in it has changed.
        entries: the queue.
        next_slice: the slice whose annotation would help most, or None.
    """

    def __init__(self, go_to: Callable[[SliceIndex], None]) -> None:
        self.changed = Signal()
        self.entries: tuple[ReviewEntry, ...] = ()
        self.next_slice: SliceIndex | None = None
        self._go_to = go_to
        self._place: int | None = None
        self._work: Work | None = None

    @property
    def place(self) -> int | None:
        """Number of the entry that is shown, from 0; None before the first."""
        return self._place

    def set_results(self, work: Work, results: "Sequence[tuple[str, int, PropagationResult]]") -> None:
        """Queue the slices that a propagation has filled in: (segment, its value, result) of each segment."""
        self._work = work
        entries = [
            ReviewEntry(segment, SliceIndex(result.axis, report.index), report.doubt.pixels, report.distance)
            for segment, value, result in results
            for report in result.review
            if report.value == value and (report.pixels or report.doubt.pixels)
        ]
        if len(results) > 1:
            entries.sort(key=lambda entry: -entry.doubt)
        self.entries = tuple(entries)
        result = next((result for *_, result in results if result.next_slice is not None), results[0][2])
        self.next_slice = None if result.next_slice is None else SliceIndex(result.axis, result.next_slice)
        self._place = None
        self.changed.emit()

    def go(self, place: int) -> ReviewEntry:
        """Show an entry.

        Raises:
            InputError: the queue has no such entry.
        """
        if not 0 <= place < len(self.entries):
            raise InputError("There is nothing more to review: propagate first, or choose an entry of the list.")
        self._place = place
        self._go_to(self.entries[place].slice)
        self.changed.emit()
        return self.entries[place]

    def forward(self, step: int = 1) -> ReviewEntry:
        """Show the next entry, or with -1 the one before."""
        return self.go((-1 if self._place is None else self._place) + step)

    def accept(self) -> None:
        """The entry shown is right: its slice counts as annotated, and the next entry is shown.

        Raises:
            InputError: no entry is shown.
        """
        if self._place is None or self._work is None:
            raise InputError("Choose a slice of the list first.")
        entry = self.entries[self._place]
        mark_annotated(self._work.segmentation_node, [entry.segment], self._work.volume, [entry.slice])
        place = self._place
        self.entries = self.entries[:place] + self.entries[place + 1 :]
        self._place = None
        if self.entries:
            self.go(min(place, len(self.entries) - 1))
        else:
            self.changed.emit()

    def go_to_next_slice(self) -> SliceIndex:
        """Show the slice whose annotation would help most.

        Raises:
            InputError: none is known.
        """
        if self.next_slice is None:
            raise InputError("No slice stands out: propagate first.")
        self._go_to(self.next_slice)
        return self.next_slice

    def clear(self) -> None:
        """Forget the queue."""
        self.entries, self.next_slice, self._place, self._work = (), None, None, None
        self.changed.emit()

    def to_dict(self) -> dict[str, Any]:
        """For the scene."""
        return {
            "entries": [[e.segment, e.slice.axis, e.slice.index, e.doubt, e.distance] for e in self.entries],
            "next": None if self.next_slice is None else [self.next_slice.axis, self.next_slice.index],
        }

    def restore(self, work: Work, content: dict[str, Any]) -> None:
        """The inverse of :meth:`to_dict`; entries that do not fit the volume any more are left out."""
        entries = [
            ReviewEntry(str(segment), SliceIndex(axis, int(index)), float(doubt), float(distance))
            for segment, axis, index, doubt, distance in content.get("entries", [])
            if axis in AXES
        ]
        self._work = work
        self.entries = tuple(entry for entry in entries if work.valid(entry.slice))
        following = content.get("next")
        self.next_slice = SliceIndex(following[0], int(following[1])) if following else None
        self._place = None
        self.changed.emit()
