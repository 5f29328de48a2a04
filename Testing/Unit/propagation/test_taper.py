"""How large a structure is expected to be near its ends."""

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import extent_of
from SAMFinetuneLogic.propagation.levels import Patch, signed_distance
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.propagation.taper import LEAST, TRUST, USUAL, expected_area, tapered, tapering
from SAMFinetuneLogic.propagation.volume import propagate_volume

FIRST, LAST = 10, 29


def stack(areas: dict[int, float]) -> np.ndarray:
    """Discs (40, 96, 96) of the given areas in pixels."""
    rows, cols = np.mgrid[:96, :96]
    voxels = np.zeros((40, 96, 96), dtype=bool)
    for index, area in areas.items():
        voxels[index] = (rows - 48) ** 2 + (cols - 48) ** 2 <= area / np.pi
    return voxels


def ellipsoid() -> np.ndarray:
    """Areas of (z - 9) (30 - z) times a factor: an ellipsoid whose ends lie on slices 9 and 30."""
    return stack({index: 40.0 * (index - FIRST + 1) * (LAST + 1 - index) for index in range(FIRST, LAST + 1)})


def annotated(truth: np.ndarray, *indices: int) -> Annotations:
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[list(indices)] = truth[list(indices)]
    return Annotations.of(Volume(np.zeros(truth.shape, np.int16), np.eye(4)), LabelMap(drawn, np.eye(4)), "k")


@pytest.mark.parametrize("drawn", [(19, 20), (15, 20, 25), (12, 16, 20, 24)])
def test_of_an_ellipsoid_it_is_right(drawn):
    truth = ellipsoid()
    annotations = annotated(truth, *drawn)
    extent = extent_of(annotations, 1, FIRST, LAST)

    assert tapering(annotations, 1, extent) == pytest.approx(1, abs=0.05)
    for index in range(drawn[-1] + 1, LAST + 1):
        expected = expected_area(annotations, 1, extent, drawn[-1], LAST + 1, index)
        right = max(truth[index].sum(), LEAST * truth[drawn[-1]].sum())
        assert expected == pytest.approx(right, rel=0.1, abs=0.03 * truth.sum((1, 2)).max())


def test_a_single_slice_is_taken_for_the_largest():
    annotations = annotated(ellipsoid(), 20)
    extent = extent_of(annotations, 1, FIRST, LAST)
    area = np.count_nonzero(annotations.masks[1][20])

    assert expected_area(annotations, 1, extent, 20, LAST + 1, 25) == pytest.approx(area * (1 - 0.5**2))
    assert expected_area(annotations, 1, extent, 20, FIRST - 1, FIRST) == pytest.approx(area * (1 - (10 / 11) ** 2))


def test_a_tube_hardly_tapers():
    tube = stack(dict.fromkeys(range(FIRST, LAST + 1), 900.0))
    annotations = annotated(tube, 12, 16, 20, 24, 28)
    extent = extent_of(annotations, 1, FIRST, LAST)
    parabola = np.log([(z - 9) * (30 - z) for z in (12, 16, 20, 24, 28)])

    assert tapering(annotations, 1, extent) == pytest.approx(USUAL / (USUAL + len(parabola) * parabola.var()))
    assert tapering(annotations, 1, extent) < 0.12
    assert expected_area(annotations, 1, extent, 28, LAST + 1, 29) > 0.9 * tube[28].sum()
    assert tapering(annotations, 1, extent_of(annotations, 1, FIRST)) == 1  # where it ends above is not known


def test_the_outline_moves_inwards_evenly_and_never_outwards():
    rows, cols = np.mgrid[:60, :70]
    mask = (rows - 30) ** 2 + (cols - 30) ** 2 <= 15**2
    patch = Patch.of(signed_distance(mask), mask.shape)
    smaller = tapered(patch, 200, (1.0, 1.0))
    wanted = mask.sum() ** (1 - TRUST) * 200**TRUST

    assert smaller.area == pytest.approx(wanted, rel=0.1)
    radius = np.sqrt(wanted / np.pi)
    assert dice(smaller.mask(), (rows - 30) ** 2 + (cols - 30) ** 2 <= radius**2) > 0.97
    assert tapered(patch, 5000, (1.0, 1.0)) is patch


def test_a_structure_in_noise_ends_where_the_user_said():
    truth = ellipsoid()
    noise = np.random.default_rng(0).normal(0, 25, truth.shape)
    gray = (100 + 30 * truth + noise).clip(0, 255).astype(np.uint8)
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[20] = truth[20]
    options = PropagationOptions(slices=(20,), first=FIRST, last=LAST)
    filled = propagate_volume(Volume(gray, np.eye(4)), LabelMap(drawn, np.eye(4)), options=options).labels.voxels

    held = np.zeros_like(truth)
    held[FIRST : LAST + 1] = truth[20]
    assert dice(filled > 0, truth) > 0.9 > dice(held, truth) + 0.05
