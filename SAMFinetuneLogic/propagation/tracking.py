"""From slice to slice with the network: the mask of one slice is the prompt of the next."""

from collections.abc import Mapping
from math import inf
from typing import ClassVar

import numpy as np

from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.ends import Signature, has_ended
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.levels import Patch, nothing
from SAMFinetuneLogic.propagation.options import Direction
from SAMFinetuneLogic.propagation.reading import SliceReader
from SAMFinetuneLogic.propagation.reliability import ErrorCurve


class Tracks:
    """The masks that follow from drawn slices, in both directions, computed once as far as they are asked for.

    A track depends on the slice that it starts from alone, so that leaving another slice out changes nothing in it.
    """

    def __init__(self, reader: SliceReader, extents: Mapping[int, Extent]) -> None:
        self._reader = reader
        self._extents = extents
        self._tracks: dict[tuple[int, int, int], list[Patch | None]] = {}
        self._origins: dict[tuple[int, int], Signature | None] = {}

    def at(self, value: int, start: int, mask: np.ndarray, index: int) -> Patch | None:
        """The levels on slice ``index`` of a structure that looks like ``mask`` on slice ``start``.

        None if the track was lost before, although the structure is known to go on; an empty patch if it ended.
        """
        direction = 1 if index > start else -1
        track = self._tracks.setdefault((value, start, direction), [])
        while len(track) < abs(index - start):
            track.append(self._next(value, start, mask, track, start + direction * (len(track) + 1)))
        return track[abs(index - start) - 1]

    def _next(self, value: int, start: int, mask: np.ndarray, track: list[Patch | None], index: int) -> Patch | None:
        extent = self._extents[value]
        lost = None if (extent.last_known if index > start else extent.first_known) else nothing(mask.shape)
        if track and (track[-1] is None or not track[-1].area):
            return track[-1]
        previous = track[-1].mask() if track and track[-1] is not None else mask
        look = self._reader.look(index, previous)
        patch = self._reader.follow(look, previous)
        found = patch.mask()
        if not found.any():
            return lost
        here = self._reader.signature(look, found)
        ended = has_ended(mask, previous, found, self._origin(value, start, mask), here)
        return lost if ended else patch

    def _origin(self, value: int, start: int, mask: np.ndarray) -> Signature | None:
        if (value, start) not in self._origins:
            self._origins[value, start] = self._reader.signature(self._reader.look(start, mask), mask)
        return self._origins[value, start]


class TrackCandidate:
    """Follows the structure from the nearest drawn slice on one side."""

    of_network: ClassVar[bool] = True
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.25, 0.5)

    def __init__(self, tracks: Tracks, direction: Direction) -> None:
        self._tracks = tracks
        self._direction = direction

    @property
    def name(self) -> str:
        return self._direction

    def fit(self, annotations: Annotations) -> "TrackedMasks":
        return TrackedMasks(annotations, self._tracks, self._direction)


class TrackedMasks:
    """Of one direction: forward comes from below, backward from above."""

    def __init__(self, annotations: Annotations, tracks: Tracks, direction: Direction) -> None:
        self._annotations = annotations
        self._tracks = tracks
        self._direction = direction

    def predict(self, value: int, index: int) -> Patch | None:
        start = self._start(value, index)
        if start is None:
            return None
        return self._tracks.at(value, start, self._annotations.masks[value][start], index)

    def distance(self, value: int, index: int) -> float:
        start = self._start(value, index)
        return inf if start is None else float(abs(index - start))

    def _start(self, value: int, index: int) -> int | None:
        """The known slice that the track comes from; None if there is none, or the structure is absent on it."""
        below, above = self._annotations.neighbours(value, index)
        start = below if self._direction == "forward" else above
        return None if start is None or not self._annotations.masks[value][start].any() else start
