"""An honest figure for the user: how good the filled-in slices are likely to be."""

from collections.abc import Sequence

import numpy as np

from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.panel import FUSED
from SAMFinetuneLogic.propagation.reliability import ErrorCurve, Evidence, expected_error
from SAMFinetuneLogic.propagation.result import Estimate, SliceReport

MIN_SLICES = 3

FUSED_CURVE = ErrorCurve(0.04, 0.3)
"""How the fusion's error grows with distance. A slice that is left out is a whole gap away from the next annotated one,
those to be filled in are nearer: the left-out Dice alone would be too pessimistic."""


def estimate(
    annotations: Annotations, segment: Segment, evidence: Sequence[Evidence], reports: Sequence[SliceReport], gap: float
) -> Estimate:
    """The Dice to expect over the filled-in slices of a segment.

    Args:
        evidence: of the panel, the fusion's included.
        reports: of the filled-in slices.
        gap: typical distance between annotated slices, in slices.
    """
    value = segment.value
    drawn = annotations.present(value)
    if len(drawn) < MIN_SLICES:
        many = f"{len(drawn)} slice{'' if len(drawn) == 1 else 's'}"
        text = f"{segment.name} is drawn on {many}: draw at least {MIN_SLICES} for an estimate of its quality."
        return Estimate(value, None, {}, text)
    own = [each for each in evidence if each.candidate == FUSED and each.value == value]
    left_out = {each.index: each.dice for each in own}
    filled = [report for report in reports if report.value == value and report.pixels]
    if not own or not filled:
        return Estimate(value, None, left_out, f"There is nothing of {segment.name} to estimate.")
    errors = [expected_error(FUSED_CURVE, own, report.distance / gap) for report in filled]
    dice = 1 - float(np.average(errors, weights=[report.pixels for report in filled]))
    text = (
        f"{segment.name}: expected Dice {dice:.2f} on the filled-in slices; leaving annotated slices out one by one "
        f"gave {np.mean(list(left_out.values())):.2f} (from {len(own)} slices)."
    )
    return Estimate(value, dice, left_out, text)
