"""The random walker of scikit-image, made safe for flat images and full seeds."""

import warnings

import numpy as np

from SAMFinetuneLogic.evaluation.baselines.optional import optional_module

STRUCTURE, BACKGROUND = 1, 2
"""Seeds; 0 is free."""


def walk(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The mask (rows, cols) of the pixels whose walker reaches the structure first; the library's own settings.

    Args:
        image: uint8 (rows, cols).
        seeds: int32 (rows, cols).
    """
    segmentation = optional_module("skimage.segmentation")
    if (seeds != 0).all() or not (seeds == BACKGROUND).any():
        return seeds != BACKGROUND
    data = image.astype(np.float64) / 255
    if np.ptp(data) == 0:
        data.flat[0] += 1e-3  # the library divides by the image's variance
    with warnings.catch_warnings():
        # Probabilities a little outside of 0..1 do not change which one is larger.
        warnings.filterwarnings("ignore", message="The probability range", category=UserWarning)
        return segmentation.random_walker(data, seeds, mode="cg_j") == STRUCTURE
