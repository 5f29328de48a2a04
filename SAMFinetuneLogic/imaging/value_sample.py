"""What a volume's values look like: a quick sample, and the questions that the choice of a window asks of it."""

from math import gcd

import numpy as np

SAMPLE_SIZE = 500_000
_BACKGROUND_SHARE = 0.1
_AIR_SHARE = 0.005
_AIR = (-1100.0, -700.0)  # HU, lung included; below lie noise and padding with values such as -2000 or -3024
_FAT = -300.0  # HU; no tissue lies between lung and here


def sample_values(voxels: np.ndarray, exact: bool = False) -> np.ndarray:
    """Finite values as float64: about half a million, evenly spread over the array, or all of them.

    The step shares no divisor with the array's shape, so that no column or row is preferred. The same volume gives
    the same sample.
    """
    flat = voxels.ravel(order="K")
    step = 1 if exact else max(1, -(-flat.size // SAMPLE_SIZE))
    while gcd(step, flat.size) > 1:
        step += 1
    values = flat[::step].astype(np.float64)
    return values[np.isfinite(values)]


def foreground_of(values: np.ndarray) -> np.ndarray:
    """The values without the background: the one value that fills a tenth or more at the dark end.

    Skull-stripped and padded images have such a value; a plain image has none and is returned whole, as is one
    that holds nothing else. The dark end is the lower half of the range of values.
    """
    unique, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    dark = unique[most] <= (unique[0] + unique[-1]) / 2
    if unique.size == 1 or not dark or counts[most] < _BACKGROUND_SHARE * values.size:
        return values
    return values[values != unique[most]]


def is_full_8_bit(voxels: np.ndarray) -> bool:
    """Whether voxels are stored in 8 bits and reach 200: gray levels that somebody has already windowed."""
    return bool(voxels.dtype == np.uint8 and voxels.max() >= 200)


def is_ct_like(values: np.ndarray) -> bool:
    """Whether there is air on the Hounsfield scale.

    Padding (one value below air) is left out first. Then 0.5 % of the voxels must lie where air and lung do, with a
    gap around them: fewer between there and fat, and next to none below. Phase images and signed differences also
    reach -1000, but without such a gap.
    """
    if values.size and values.min() < _AIR[0]:
        values = values[values != values.min()]
    if values.size == 0:
        return False
    lowest, highest = _AIR
    air = np.mean((values >= lowest) & (values <= highest))
    above = np.mean((values > highest) & (values <= _FAT))
    below = np.mean(values < lowest)
    return bool(air >= _AIR_SHARE and above < air and below < air / 5)


def is_uniform(voxels: np.ndarray) -> bool:
    """Whether nothing can be seen on an image: its finite values are all the same, or it has none."""
    values = sample_values(voxels)
    if values.size and values.min() < values.max():
        return False
    values = sample_values(voxels, exact=True)  # the sample may have missed what is small
    return values.size == 0 or bool(values.min() == values.max())
