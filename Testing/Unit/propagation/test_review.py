import csv

import numpy as np
import pytest

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.doubt import Doubt
from SAMFinetuneLogic.propagation.extent import extent_of
from SAMFinetuneLogic.propagation.result import SliceReport
from SAMFinetuneLogic.propagation.review import next_slice, review_order, write_review
from SAMFinetuneLogic.propagation.volume import PropagationOptions, propagate_volume


def report(index: int, doubtful: float, value: int = 1, disagreement: float = 0.0) -> SliceReport:
    return SliceReport(value, index, 10, Doubt(disagreement, 0.0, doubtful), 1.0, {})


def test_most_doubtful_pixels_come_first():
    reports = [report(3, 5.0, disagreement=0.9), report(4, 20.0), report(2, 5.0), report(2, 5.0, value=2)]

    order = [(each.index, each.value) for each in review_order(reports)]

    assert order == [(4, 1), (2, 1), (2, 2), (3, 1)]


@pytest.mark.parametrize(
    ("drawn", "first", "last", "expected"),
    [
        ((10, 20), 8, 22, 15),  # between the two
        ((10, 14), 8, 29, 22),  # from the upper one to the end: what lies beyond 29 counts as drawn
        ((10, 16, 22), 10, 22, 13),  # of equal stretches the lower one
        ((10, 11, 12), 10, 12, None),  # nothing is left
    ],
)
def test_the_middle_of_the_widest_stretch_is_next(drawn, first, last, expected):
    voxels = np.zeros((40, 12, 12), dtype=np.uint8)
    voxels[list(drawn), 3:9, 3:9] = 1
    annotations = Annotations.of(Volume(np.zeros(voxels.shape, np.int16), np.eye(4)), LabelMap(voxels, np.eye(4)), "k")

    assert next_slice(annotations, [extent_of(annotations, 1, first, last)]) == expected


def test_the_file_has_the_slices_in_order_of_doubt_and_the_next_one(a_volume, drawn, tmp_path):
    options = PropagationOptions(slices=(5, 17), first=3, last=20, adapt=False, measure=False)
    result = propagate_volume(a_volume, drawn(5, 17), None, options)
    path = tmp_path / "review.csv"

    write_review(path, result)

    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert [row["rank"] for row in rows] == [*(str(n) for n in range(1, len(result.slices) + 1)), "next"]
    assert [int(row["slice"]) for row in rows] == [*(each.index for each in result.review), 11]
    doubts = [float(row["doubtful_pixels"]) for row in rows[:-1]]
    assert doubts == sorted(doubts, reverse=True) and doubts[0] > doubts[-1]
    assert {row["axis"] for row in rows} == {"k"}
    with pytest.raises(OutputError, match="exists"):
        write_review(path, result, overwrite=False)
