"""What propagation gives back."""

from collections.abc import Mapping
from dataclasses import dataclass

from SAMFinetuneLogic.imaging.axes import Axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.propagation.doubt import Doubt
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.reliability import Evidence


@dataclass(frozen=True)
class SliceReport:
    """A segment on a slice that was filled in.

    Attributes:
        value, index: the segment and the slice.
        pixels: of the segment in the result.
        doubt: how unsure it is.
        distance: to the nearest slice on which the segment is drawn, in slices.
        weights: candidate -> share in the fusion.
    """

    value: int
    index: int
    pixels: int
    doubt: Doubt
    distance: float
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Estimate:
    """How good the filled-in slices of a segment are likely to be.

    Attributes:
        value: the segment.
        dice: to expect over them; None with fewer than three drawn slices.
        left_out: slice -> Dice of what the other annotated slices gave there, the evidence behind ``dice``.
        text: one sentence for the user.
    """

    value: int
    dice: float | None
    left_out: Mapping[int, float]
    text: str


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """A volume filled in from annotated slices.

    Attributes:
        labels: on the image's grid; the annotated slices as they were given.
        axis, window: of the slices, as the model saw them.
        annotated: the slices that were given.
        extents: of each segment by its value.
        slices: one report for each segment and slice in its extent, by slice.
        review: the same in order of doubt.
        next_slice: to annotate next; None when nothing is left.
        estimates: one for each segment.
        evidence: each candidate on the annotated slices, left out one by one.
        notices: sentences for the user.
    """

    labels: LabelMap
    axis: Axis
    window: Window
    annotated: tuple[int, ...]
    extents: Mapping[int, Extent]
    slices: tuple[SliceReport, ...]
    review: tuple[SliceReport, ...]
    next_slice: int | None
    estimates: tuple[Estimate, ...]
    evidence: tuple[Evidence, ...]
    notices: tuple[str, ...]
