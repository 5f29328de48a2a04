"""Small islands that hang together with nothing that was drawn."""

import numpy as np
import pytest
from scipy import ndimage

from SAMFinetuneLogic.propagation.islands import SHARE, remove_islands


@pytest.mark.parametrize("seed", range(8))
def test_it_removes_what_labelling_the_whole_volume_says(seed):
    rng = np.random.default_rng(seed)
    density = rng.choice([0.03, 0.08, 0.15])
    labels = ((rng.random((9, 14, 17)) < density) * rng.integers(1, 3, (9, 14, 17))).astype(np.uint8)
    labels[3:6, 4:9, 4:9] = 1
    annotated = {int(k) for k in rng.choice(9, 2, replace=False)}
    numbers, count = ndimage.label(labels == 1, np.ones((3, 3, 3)))
    expected = labels.copy()
    for number in range(1, count + 1):
        part = numbers == number
        if not part[sorted(annotated)].any() and part.sum() < SHARE * (labels == 1).sum():
            expected[part] = 0

    remove_islands(labels, 1, annotated)
    np.testing.assert_array_equal(labels, expected)


def test_a_large_part_stays_and_other_segments_are_not_touched():
    labels = np.zeros((6, 20, 20), dtype=np.uint8)
    labels[0:3, 2:8, 2:8] = 1
    labels[4:6, 12:18, 12:18] = 1
    labels[5, 2, 2] = 1
    labels[5, 4, 4] = 2
    remove_islands(labels, 1, {0})

    assert (labels[4:6, 12:18, 12:18] == 1).all() and labels[5, 2, 2] == 0 and labels[5, 4, 4] == 2


def test_other_axes_are_views():
    labels = np.zeros((20, 30, 7), dtype=np.uint16)
    labels[5:15, 5:15, 1:4] = 3
    labels[18, 28, 6] = 3
    remove_islands(np.moveaxis(labels, 2, 0), 3, {1})
    assert labels[18, 28, 6] == 0 and (labels == 3).sum() == 300


def test_an_absent_segment_is_no_matter():
    labels = np.zeros((3, 4, 5), dtype=np.uint8)
    remove_islands(labels, 1, {0})
    assert not labels.any()
