"""Overlap of two masks."""

import numpy as np

from SAMFinetuneLogic.errors import InputError


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient 2|A∩B| / (|A| + |B|) of two masks of one shape, in [0, 1]; 1 if both are empty.

    Args:
        first, second: arrays of any dimension; every value other than 0 counts as inside.

    Raises:
        InputError: the shapes differ.
    """
    intersection, size_a, size_b = _counts(first, second)
    return 1.0 if size_a + size_b == 0 else 2.0 * intersection / (size_a + size_b)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union |A∩B| / |A∪B| of two masks of one shape, in [0, 1]; 1 if both are empty.

    Args:
        first, second: arrays of any dimension; every value other than 0 counts as inside.

    Raises:
        InputError: the shapes differ.
    """
    intersection, size_a, size_b = _counts(first, second)
    union = size_a + size_b - intersection
    return 1.0 if union == 0 else intersection / union


def box_iou(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two boxes (row0, col0, row1, col1) of pixels, inclusive."""
    overlap = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]) + 1
    shared = float(np.prod(np.maximum(overlap, 0)))
    both = float(np.prod(first[2:] - first[:2] + 1) + np.prod(second[2:] - second[:2] + 1))
    return shared / (both - shared)


def _counts(first: np.ndarray, second: np.ndarray) -> tuple[int, int, int]:
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape:
        raise InputError(f"Masks of shape {a.shape} and {b.shape} cannot be compared; bring them to one grid first.")
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a)), int(np.count_nonzero(b))
