"""Whether a result still stands in its segments, or was taken back by undo. No Qt."""

from collections.abc import Mapping
from typing import Any

from SAMFinetuneLogic.mrml.annotated import revision
from SAMFinetuneLogic.mrml.segments import segment_ids

Older = Mapping[str, set[str]]
"""The states of each segment before a result, as :meth:`Presence.older` gives them."""


class Presence:
    """Remembers the states that segments were seen in: undo brings an earlier one back.

    A state is the revision that every write and mark leaves in a segment's tag (``SAMFinetuneLogic.mrml.annotated``).
    The user's later work on a result is another state than those before the result: the result stands.

    Example:
        >>> older = presence.older(node)        # right after the result was written
        >>> presence.standing(node, older)      # after each change: the segments in which it still is
    """

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def look(self, node: Any) -> None:
        """See the segments of a segmentation as they are now."""
        for segment, state in _states(node).items():
            self._seen.setdefault(segment, set()).add(state)

    def older(self, node: Any) -> Older:
        """What was seen before the present state, which is a result's first."""
        return {segment: self._seen.get(segment, set()) - {state} for segment, state in _states(node).items()}

    def standing(self, node: Any, older: Older) -> tuple[str, ...]:
        """The segments of which nothing from before the result has come back; those that are gone are left out."""
        return tuple(segment for segment, state in _states(node).items() if state not in older.get(segment, ()))

    def forget(self) -> None:
        """Another segmentation comes."""
        self._seen.clear()


def _states(node: Any) -> dict[str, str]:
    return {segment: revision(node, segment) for segment in segment_ids(node)}
