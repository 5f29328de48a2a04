"""Masks for the tests of editing."""

import numpy as np

from SAMFinetuneLogic.imaging.axes import array_axis


def random_mask(seed, shape, density=0.5):
    return np.random.default_rng(seed).random(shape) < density


def on_slice(volume, s):
    """Boolean (k, j, i): the voxels of a slice."""
    result = np.zeros(volume.shape, bool)
    np.moveaxis(result, array_axis(s.axis), 0)[s.index] = True
    return result


def in_volume(volume, s, mask):
    result = np.zeros(volume.shape, bool)
    np.moveaxis(result, array_axis(s.axis), 0)[s.index] = mask
    return result
