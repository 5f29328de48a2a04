"""An honest figure for the user: how good the filled-in slices are likely to be."""

from collections.abc import Sequence

import numpy as np

from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.panel import FUSED
from SAMFinetuneLogic.propagation.reliability import ErrorCurve, Evidence, error_factor, scaled_error
from SAMFinetuneLogic.propagation.result import Estimate, SliceReport
from SAMFinetuneLogic.wording import some_slices

MIN_SLICES = 3

BETWEEN, BEYOND = ErrorCurve(0.05, 0.2), ErrorCurve(0.05, 0.5)
"""How the fusion's error grows with distance, between two drawn slices and beyond the outermost ones.

A slice that is left out is a whole gap away from the next annotated one, those to be filled in are nearer: the left-out
Dice alone would be too pessimistic. And most left-out slices lie between others, while a structure's ends, where no
drawn slice confines it, are to be filled in too: one curve for both would be too optimistic there.
"""


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
        many = some_slices(len(drawn))
        text = f"{segment.name} is drawn on {many}: draw at least {MIN_SLICES} for an estimate of its quality."
        return Estimate(value, None, {}, text)
    own = [each for each in evidence if each.candidate == FUSED and each.value == value]
    left_out = {each.index: each.dice for each in own}
    filled = [report for report in reports if report.value == value and report.pixels]
    if not own or not filled:
        return Estimate(value, None, left_out, f"There is nothing of {segment.name} to estimate.")

    def curve(index: int) -> ErrorCurve:
        return BETWEEN if drawn[0] < index < drawn[-1] else BEYOND

    seen = [(1 - each.dice, curve(each.index).at(each.gaps)) for each in own if np.isfinite(each.gaps)]
    factor = error_factor(seen)
    errors = [scaled_error(curve(report.index), factor, report.distance / gap) for report in filled]
    dice = 1 - float(np.average(errors, weights=[report.pixels for report in filled]))
    text = (
        f"{segment.name}: expected Dice {dice:.2f} on the filled-in slices; leaving annotated slices out one by one "
        f"gave {np.mean(list(left_out.values())):.2f} (from {len(own)} slices)."
    )
    return Estimate(value, dice, left_out, text)
