"""The outline that is expected on a slice, redrawn on its image by the network."""

from typing import ClassVar

from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.candidate import Candidate, Opinions
from SAMFinetuneLogic.propagation.levels import Patch
from SAMFinetuneLogic.propagation.reading import SliceReader
from SAMFinetuneLogic.propagation.reliability import ErrorCurve


class RedrawCandidate:
    """Asks the network to redraw, on the image, the outline that another candidate expects there.

    Unlike a track it cannot drift away: each slice starts from the drawn ones.
    """

    name: ClassVar[str] = "redrawn"
    of_network: ClassVar[bool] = True
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.2, 0.4)

    def __init__(self, reader: SliceReader, shape: Candidate) -> None:
        self._reader = reader
        self._shape = shape

    def fit(self, annotations: Annotations) -> "RedrawnOutlines":
        return RedrawnOutlines(self._reader, self._shape.fit(annotations))


class RedrawnOutlines:
    """The outlines of a candidate after the network has seen the image."""

    def __init__(self, reader: SliceReader, outlines: Opinions) -> None:
        self._reader = reader
        self._outlines = outlines

    def predict(self, value: int, index: int) -> Patch | None:
        expected = self._outlines.predict(value, index)
        if expected is None or not expected.area:
            return expected
        mask = expected.mask()
        patch = self._reader.follow(self._reader.look(index, mask), mask)
        return patch if patch.area else None

    def distance(self, value: int, index: int) -> float:
        return self._outlines.distance(value, index)
