"""Whether there is anything to see on an image."""

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.value_sample import SAMPLE_SIZE, is_uniform


@pytest.mark.parametrize(
    ("values", "uniform"),
    [
        ([0, 0, 0], True),
        ([-1000.0, -1000.0], True),
        ([np.nan, np.nan], True),
        ([np.nan, 5.0, np.inf], True),
        ([0, 0, 1], False),
        ([np.nan, 5.0, 6.0], False),
    ],
)
def test_uniform_images(values, uniform):
    assert is_uniform(np.array(values).reshape(1, 1, -1)) is uniform


def test_one_voxel_that_the_sample_misses():
    voxels = np.zeros((1, 1, 4 * SAMPLE_SIZE), np.uint8)
    voxels[0, 0, 1] = 1
    assert not is_uniform(voxels)
