"""What a box gives without a model. Each function takes a uint8 slice (rows, cols) and a box, and gives a mask."""

import numpy as np

from SAMFinetuneLogic.evaluation.baselines.optional import optional_module
from SAMFinetuneLogic.evaluation.baselines.walker import BACKGROUND, STRUCTURE, walk
from SAMFinetuneLogic.metrics import Box

_CORE = 0.5
_GRABCUT_ROUNDS = 5


def ellipse(image: np.ndarray, box: Box) -> np.ndarray:
    """The ellipse inscribed in the box, whose sides are the outer edges of its first and last pixels."""
    mask = np.zeros(image.shape, dtype=bool)
    row0, col0, row1, col1 = box
    mask[row0 : row1 + 1, col0 : col1 + 1] = _inscribed((row1 - row0 + 1, col1 - col0 + 1))
    return mask


def random_walker(image: np.ndarray, box: Box) -> np.ndarray:
    """scikit-image's random walker: outside of the box is background, the middle of it the structure.

    The middle is the inscribed ellipse at half its size.
    """
    row0, col0, row1, col1 = box
    # Padding gives the box a rim of background also where it touches the image's border.
    crop = np.pad(image, 1, mode="edge")[row0 : row1 + 3, col0 : col1 + 3]
    seeds = np.full(crop.shape, BACKGROUND, dtype=np.int32)
    seeds[1:-1, 1:-1][...] = np.where(_inscribed((row1 - row0 + 1, col1 - col0 + 1), _CORE), STRUCTURE, 0)
    mask = np.zeros(image.shape, dtype=bool)
    mask[row0 : row1 + 1, col0 : col1 + 1] = walk(crop, seeds)[1:-1, 1:-1]
    return mask


def grab_cut(image: np.ndarray, box: Box) -> np.ndarray:
    """OpenCV's GrabCut initialised by the box, five rounds; all of the image if nothing lies outside of the box."""
    cv2 = optional_module("cv2")
    row0, col0, row1, col1 = box
    labels = np.full(image.shape, cv2.GC_BGD, dtype=np.uint8)
    labels[row0 : row1 + 1, col0 : col1 + 1] = cv2.GC_PR_FGD
    if (labels == cv2.GC_PR_FGD).all():
        return np.ones(image.shape, dtype=bool)
    cv2.setRNGSeed(0)
    colors = np.repeat(image[..., None], 3, axis=2)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(colors, labels, None, background, foreground, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _inscribed(shape: tuple[int, int], scale: float = 1.0) -> np.ndarray:
    """The ellipse inscribed in a grid of ``shape``, shrunk by ``scale``; at least its middle pixel."""
    rows, cols = (np.abs(np.arange(size) - (size - 1) / 2) / (scale * size / 2) for size in shape)
    mask = rows[:, None] ** 2 + cols[None, :] ** 2 <= 1
    mask[shape[0] // 2, shape[1] // 2] = True
    return mask
