"""What a candidate is: a way to continue annotations to other slices."""

from typing import Protocol

import numpy as np

from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.levels import Bounds, Patch
from SAMFinetuneLogic.propagation.reliability import ErrorCurve


class Opinions(Protocol):
    """A candidate that knows the annotations."""

    def predict(self, value: int, index: int) -> Patch | None:
        """A segment's levels on a slice that is not annotated; None where the candidate has nothing to say."""
        ...

    def distance(self, value: int, index: int) -> float:
        """How many slices away the annotations are that the opinion rests on; infinite if there are none."""
        ...


class Outlines(Opinions, Protocol):
    """Opinions that are outlines, of which the distance to each pixel is known."""

    def level(self, value: int, index: int) -> tuple[Bounds, np.ndarray] | None:
        """A part of the slice, around the outline, and in it the signed distance to it, not limited; None if absent."""
        ...


class OutlineCandidate(Protocol):
    """Continues outlines."""

    def fit(self, annotations: Annotations) -> Outlines:
        """Learn from annotated slices."""
        ...


class Candidate(Protocol):
    """Continues annotations to other slices.

    The fusion measures each candidate by leaving annotated slices out: :meth:`fit` is called once with all of them,
    and once without each, always with the same image.
    """

    @property
    def name(self) -> str:
        """For reports."""
        ...

    @property
    def of_network(self) -> bool:
        """Whether it asks the model."""
        ...

    @property
    def curve(self) -> ErrorCurve:
        """The error to expect before anything is known about this volume."""
        ...

    def fit(self, annotations: Annotations) -> Opinions:
        """Learn from annotated slices."""
        ...
