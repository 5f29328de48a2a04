"""The slices in order of doubt: what stands behind the Review section. No Qt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from SAMFinetuneLib.presence import Older, Presence
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import AXES, SliceIndex
from SAMFinetuneLogic.mrml.annotated import annotations_of
from SAMFinetuneLogic.prompting.session_state import Target

if TYPE_CHECKING:
    from SAMFinetuneLogic.propagation.result import PropagationResult  # brings scipy, too slow for opening the module


PROPAGATED = "In doubt: pixels on which the ways of filling in differ, or the model's repeated answers do."
COLLECTED = "In doubt: pixels that the collection's decoder is likely to have wrong, by its own probabilities."
ADAPTED = "In doubt: pixels that the adapter is likely to have wrong, by its own probabilities."


@dataclass(frozen=True)
class ReviewEntry:
    """A slice of a segment that was filled in.

    Attributes:
        segment: id.
        slice: where.
        doubt: how many pixels are in doubt.
        distance: to the nearest annotated slice, in slices; None where no slice is.
    """

    segment: str
    slice: SliceIndex
    doubt: float
    distance: float | None


class Review:
    """The queue, most doubtful first, and the place in it.

    Slices that are annotated by now are left out, and segments whose result was taken back; both return by undo and
    redo: see :meth:`look`.

    Args:
        go_to: shows a slice to the user.
        select: selects a segment, for corrections.
        confirm: takes a segment's slice as right; a preview there is accepted.
        presence: tells what was taken back.

    Attributes:
        changed: emitted when the queue or the place in it has changed.
        filled: emitted when there are new results to look through.
        entries: the queue.
        next_slice: the slice whose annotation would help most, or None.
        note: a sentence on what doubt means here; empty before the first result.
    """

    def __init__(
        self,
        go_to: Callable[[SliceIndex], None],
        select: Callable[[str], None],
        confirm: Callable[[Target], None],
        presence: Presence,
    ) -> None:
        self.changed = Signal()
        self.filled = Signal()
        self.note = ""
        self.entries: tuple[ReviewEntry, ...] = ()
        self.next_slice: SliceIndex | None = None
        self._go_to, self._select, self._confirm = go_to, select, confirm
        self._presence = presence
        self._queue: tuple[ReviewEntry, ...] = ()
        self._following: SliceIndex | None = None
        self._place: int | None = None
        self._resume = 0
        self._work: Work | None = None
        self._older: Older = {}

    @property
    def work(self) -> Work | None:
        """Whose slices are queued."""
        return self._work

    @property
    def place(self) -> int | None:
        """Number of the entry that is shown, from 0; None before the first."""
        return self._place

    def set_results(self, work: Work, results: "Sequence[tuple[str, int, PropagationResult]]") -> None:
        """Queue the slices that a propagation has filled in: (segment, its value, result) of each segment."""
        entries = [
            ReviewEntry(segment, SliceIndex(result.axis, report.index), report.doubt.pixels, report.distance)
            for segment, value, result in results
            for report in result.review
            if report.value == value and (report.pixels or report.doubt.pixels)
        ]
        result = next((result for *_, result in results if result.next_slice is not None), results[0][2])
        following = None if result.next_slice is None else SliceIndex(result.axis, result.next_slice)
        self.set_entries(work, entries, PROPAGATED, following)

    def set_entries(
        self, work: Work, entries: Sequence[ReviewEntry], note: str, next_slice: SliceIndex | None = None
    ) -> None:
        """Queue slices, the most doubtful first."""
        self._work = work
        self._older = self._presence.older(work.segmentation_node)
        self._queue = self.entries = ordered(entries)
        self._following = self.next_slice = next_slice
        self.note = note
        self._place, self._resume = None, 0
        self.look()
        self.changed.emit()
        self.filled.emit()

    def look(self, work: Work | None = None) -> None:
        """See what has been annotated, taken back or done again since the last look.

        Args:
            work: what is open, while there is no result of it yet.
        """
        self._work = self._work or work
        if self._work is None or not self._work.in_scene:
            return
        node, volume = self._work.segmentation_node, self._work.volume
        self._presence.look(node)
        there = self._presence.standing(node, self._older)
        annotated = {segment: annotations_of(node, segment, volume) for segment in there}
        entries = tuple(e for e in self._queue if e.segment in annotated and e.slice not in annotated[e.segment])
        wanting = [annotated[e.segment] for e in self._queue if e.segment in annotated]
        helps = not self._queue or any(self._following not in slices for slices in wanting)
        following = self._following if helps else None
        if entries != self.entries or following != self.next_slice:
            self.next_slice = following
            shown = None if self._place is None else self.entries[self._place]
            self.entries = entries
            if shown in entries:
                self._place = entries.index(shown)
            elif self._place is not None:
                self._place, self._resume = None, min(self._place, len(entries))
            self.changed.emit()

    def go(self, place: int) -> ReviewEntry:
        """Show an entry.

        Raises:
            InputError: the queue has no such entry.
        """
        if not 0 <= place < len(self.entries):
            raise InputError("There is nothing more to review: propagate first, or choose an entry of the list.")
        self._place = place
        self._select(self.entries[place].segment)
        self._go_to(self.entries[place].slice)
        self.changed.emit()
        return self.entries[place]

    def forward(self, step: int = 1) -> ReviewEntry:
        """Show the next entry, or with -1 the one before."""
        if self._place is not None:
            return self.go(self._place + step)
        return self.go(self._resume + min(step, 0))

    def accept(self) -> None:
        """The entry shown is right: its slice counts as annotated, and the next entry is shown.

        Raises:
            InputError: no entry is shown, or the model still owes an answer to a prompt there.
        """
        if self._place is None or self._work is None:
            raise InputError("Choose a slice of the list first.")
        place, entry = self._place, self.entries[self._place]
        self._confirm(Target(entry.segment, entry.slice))
        self.look()
        if self.entries:
            self.go(min(place, len(self.entries) - 1))

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
        self._queue = self.entries = ()
        self._following = self.next_slice = self._place = self._work = None
        self._resume, self.note = 0, ""
        self._older = {}
        self._presence.forget()
        self.changed.emit()

    def to_dict(self) -> dict[str, Any]:
        """For the scene."""
        following = None if self.next_slice is None else [self.next_slice.axis, self.next_slice.index]
        return review_record(self.entries, self.note) | {"next": following}

    def carried(self) -> dict[str, Any]:
        """For the same nodes, opened again: :meth:`to_dict`, and what tells whether the result is taken back."""
        return self.to_dict() | {"older": self._older}

    def restore(
        self, work: Work, content: dict[str, Any], numbering: Callable[[SliceIndex], SliceIndex] = lambda entry: entry
    ) -> None:
        """The inverse of :meth:`to_dict` or :meth:`carried`; entries that do not fit the volume any more are left out.

        Args:
            numbering: gives the slices of the volume as it is now.
        """
        entries = [
            ReviewEntry(
                str(segment),
                numbering(SliceIndex(axis, int(index))),
                float(doubt),
                None if distance is None else float(distance),
            )
            for segment, axis, index, doubt, distance in content.get("entries", [])
            if axis in AXES
        ]
        self._work = work
        self._queue = self.entries = tuple(entry for entry in entries if work.valid(entry.slice))
        following = content.get("next")
        self._following = self.next_slice = (
            numbering(SliceIndex(following[0], int(following[1]))) if following else None
        )
        self.note = str(content.get("note", ""))
        self._older = content.get("older", {})
        self._place, self._resume = None, 0
        self.look()
        self.changed.emit()


def ordered(entries: Sequence[ReviewEntry]) -> tuple[ReviewEntry, ...]:
    """Most doubtful first; equal ones stay in their order."""
    return tuple(sorted(entries, key=lambda entry: -entry.doubt))


def review_record(entries: Sequence[ReviewEntry], note: str) -> dict[str, Any]:
    """What :meth:`Review.restore` reads."""
    return {
        "entries": [[e.segment, e.slice.axis, e.slice.index, e.doubt, e.distance] for e in entries],
        "note": note,
    }
