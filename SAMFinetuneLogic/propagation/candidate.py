"""What a candidate is: a way to continue annotations to other slices."""

from typing import Protocol

from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.levels import Patch
from SAMFinetuneLogic.propagation.reliability import ErrorCurve


class Opinions(Protocol):
    """A candidate that knows the annotations."""

    def predict(self, value: int, index: int) -> Patch | None:
        """A segment's levels on a slice that is not annotated; None where the candidate has nothing to say."""
        ...

    def distance(self, value: int, index: int) -> float:
        """How many slices away the annotations are that the opinion rests on; infinite if there are none."""
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
