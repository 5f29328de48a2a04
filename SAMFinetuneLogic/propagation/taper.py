"""How large a structure is expected to be on its way to an end that the user gave.

What is carried outwards along the image stays too large: an outline that is followed meets edges of other things, and
nothing tells it to vanish. Areas do: they fall along a parabola through the outermost drawn ones that is zero on the
first slice without the structure, as those of an ellipsoid do. Of the development cases the median structure falls
just so. One whose drawn areas are all alike, a vessel that the range cuts, falls by less: a power of the parabola.
The choice is our own.
"""

import numpy as np

from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.levels import LIMIT, Patch, signed_distance
from SAMFinetuneLogic.propagation.regions import widened

LEAST = 0.1
"""Of the outermost drawn area is expected up to the end: the structure is there."""
TRUST = 0.4
"""The area drawn is the geometric mean of the expected and the found one, with this weight of the expected one."""
USUAL = 0.1
"""Weight of the power 1 beside what the drawn areas say, in squared logarithms of area."""
STEEPEST = 2.0
_ROOM = (2, 2)


def tapering(annotations: Annotations, value: int, extent: Extent) -> float:
    """The power p for which drawn areas are nearest to a multiple of ((z - below) (above - z)) ** p.

    Returns:
        0 for a tube, 1 for an ellipsoid, and where one end is not known or a single slice is drawn.
    """
    drawn = annotations.present(value)
    if len(extent.known_ends(drawn)) < 2 or len(drawn) < 2:
        return 1.0
    assert extent.below is not None and extent.above is not None
    places = np.array(drawn, dtype=float)
    parabola = np.log((places - extent.below) * (extent.above - places))
    areas = np.log([np.count_nonzero(annotations.masks[value][index]) for index in drawn])
    parabola, areas = parabola - parabola.mean(), areas - areas.mean()
    power = (USUAL + (parabola * areas).sum()) / (USUAL + (parabola**2).sum())
    return float(np.clip(power, 0, STEEPEST))


def expected_area(annotations: Annotations, value: int, extent: Extent, start: int, end: int, index: int) -> float:
    """Pixels of a segment expected on slice ``index`` between its outermost drawn slice and its end.

    A single drawn slice is taken for the largest.

    Args:
        start: the outermost drawn slice on that side.
        end: the first slice beyond, on which the structure is absent.
    """
    at_start = float(np.count_nonzero(annotations.masks[value][start]))
    done = (index - start) / (end - start)
    before = [each for each in annotations.present(value) if (each - start) * (end - start) < 0]
    bend = -1.0
    if before:
        nearest = min(before, key=lambda each: abs(each - start))
        place = (nearest - start) / (end - start)
        growth = np.count_nonzero(annotations.masks[value][nearest]) / at_start - 1
        bend = (growth + place) / (place * place - place)
    parabola = max(bend * done * done - (1 + bend) * done + 1, 0.0)
    return at_start * max(parabola ** tapering(annotations, value, extent), LEAST)


def tapered(patch: Patch, expected: float, spacing: tuple[float, float]) -> Patch:
    """An outline moved inwards towards an expected area in pixels; a smaller one stays as it is."""
    found = patch.area
    wanted = round(found ** (1 - TRUST) * expected**TRUST)
    if patch.bounds is None or not 0 < wanted < found:
        return patch
    bounds = widened(patch.bounds, _ROOM, patch.shape)
    levels = patch.levels(bounds)
    # Levels know the outline to less than a pixel, but not how deep it is beyond their limit.
    depth = np.where(levels < LIMIT, levels, np.maximum(signed_distance(levels > 0, spacing), LIMIT))
    edge = float(np.partition(depth.ravel(), -wanted - 1)[-wanted - 1])
    return Patch.of(depth - edge, patch.shape, bounds[0], bounds[1])
