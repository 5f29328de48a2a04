from dataclasses import replace

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.doubt import Doubt
from SAMFinetuneLogic.propagation.estimate import BETWEEN, BEYOND, estimate
from SAMFinetuneLogic.propagation.panel import FUSED
from SAMFinetuneLogic.propagation.reliability import Evidence
from SAMFinetuneLogic.propagation.result import SliceReport


@pytest.fixture
def annotations() -> Annotations:
    voxels = np.zeros((30, 10, 10), dtype=np.uint8)
    voxels[[5, 10, 15], 2:8, 2:8] = 1
    return Annotations.of(Volume(np.zeros(voxels.shape, np.int16), np.eye(4)), LabelMap(voxels, np.eye(4)), "k")


def seen(index: int, dice: float) -> Evidence:
    return Evidence(FUSED, 1, index, dice, 1.0)


def filled(index: int, distance: float, pixels: int = 36) -> SliceReport:
    return SliceReport(1, index, pixels, Doubt(0.0, 0.0, 0.0), distance, {"interpolation": 1.0})


def as_expected(annotations: Annotations) -> list[Evidence]:
    """Left-out slices that err by just what is expected of them."""
    return [seen(5, 1 - BEYOND.at(1)), seen(10, 1 - BETWEEN.at(1)), seen(15, 1 - BEYOND.at(1))]


def test_errors_as_expected_confirm_the_curves(annotations):
    segment, reports = annotations.segments[0], [filled(7, 2), filled(17, 2, pixels=12)]

    found = estimate(annotations, segment, as_expected(annotations), reports, gap=5.0)

    expected = (36 * BETWEEN.at(0.4) + 12 * BEYOND.at(0.4)) / 48
    assert found.dice == pytest.approx(1 - expected)
    assert set(found.left_out) == {5, 10, 15}


def test_what_lies_beyond_the_drawn_slices_is_expected_to_be_worse(annotations):
    segment, evidence = annotations.segments[0], as_expected(annotations)

    inside = estimate(annotations, segment, evidence, [filled(7, 2)], gap=5.0)
    outside = estimate(annotations, segment, evidence, [filled(17, 2)], gap=5.0)

    assert inside.dice > outside.dice


def test_worse_left_out_slices_lower_the_estimate(annotations):
    segment, reports = annotations.segments[0], [filled(7, 2)]
    worse = [replace(each, dice=each.dice - 0.2) for each in as_expected(annotations)]

    assert (
        estimate(annotations, segment, worse, reports, gap=5.0).dice
        < estimate(annotations, segment, as_expected(annotations), reports, gap=5.0).dice
    )


def test_with_two_slices_it_says_that_more_are_needed(annotations):
    found = estimate(annotations.without(10), annotations.segments[0], [], [filled(7, 2)], gap=5.0)

    assert found.dice is None
    assert "at least 3" in found.text
