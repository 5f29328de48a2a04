import tracemalloc

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.propagation.growing import BYTES_PER_CELL, MAX_SIDE, MAX_VOXELS
from SAMFinetuneLogic.propagation.volume import BYTES_PER_VOXEL, PropagationOptions, propagate_volume

_FIXED = 4 * 2**20
"""What does not grow with the volume."""


@pytest.mark.parametrize("with_network", [False, True])
def test_memory_beyond_image_and_labels_is_bounded(a_model, with_network):
    rows, cols = np.ogrid[:256, :256]
    truth = np.stack([((rows - 128) ** 2 + (cols - 128) ** 2 < (40 + k) ** 2) for k in range(32)]).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 8, truth.shape).astype(np.int16)
    volume, given = Volume(80 * truth.astype(np.int16) + noise, np.eye(4)), np.zeros_like(truth)
    given[[4, 12, 20, 28]] = truth[[4, 12, 20, 28]]
    labels = LabelMap(given, np.eye(4))
    cache = EmbeddingCache(2**20)
    model = a_model if with_network else None

    tracemalloc.start()
    try:
        propagate_volume(volume, labels, model, PropagationOptions(measure=False, jitter=False), cache=cache)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < bound(truth) + cache.memory_bytes


@pytest.mark.slow
def test_a_volume_of_512_x_512_x_300_voxels_stays_within_the_bound():
    rows, cols = np.ogrid[:512, :512]
    disc = (rows - 256) ** 2 + (cols - 256) ** 2 < 80**2
    gray = np.random.default_rng(0).integers(0, 20, (300, 512, 512), dtype=np.int16)
    given = np.zeros(gray.shape, dtype=np.uint8)
    gray[20:280] += 80 * disc.astype(np.int16)
    given[[60, 150, 240]] = disc
    volume, labels = Volume(gray, np.eye(4)), LabelMap(given, np.eye(4))

    tracemalloc.start()
    try:
        options = PropagationOptions(first=20, last=279, measure=False, adapt=False)
        result = propagate_volume(volume, labels, None, options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert result.labels.mask(1)[150].sum() == disc.sum() and result.labels.mask(1)[100].any()
    assert given.nbytes < peak < bound(given)


def bound(labels: np.ndarray) -> float:
    """Bytes beyond the image, the labels and the cache."""
    return BYTES_PER_VOXEL * labels.size + BYTES_PER_CELL * min(MAX_VOXELS, len(labels) * MAX_SIDE**2) + _FIXED
