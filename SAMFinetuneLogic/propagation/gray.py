"""Gray values of a part of a slice, as the candidates that look at the image see them."""

import numpy as np

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.propagation.levels import Bounds


def gray_part(volume: Volume, window: Window, place: SliceIndex, bounds: Bounds) -> np.ndarray:
    """float32 (rows, cols) of the part within ``bounds``, 0 to 255; of colours the mean."""
    row0, col0, row1, col1 = bounds
    pixels = volume.slice_pixels(place)
    shown = window.to_uint8(pixels[row0 : row1 + 1, col0 : col1 + 1]).astype(np.float32)
    return shown.mean(axis=2) if shown.ndim == 3 else shown


def reduced(plane: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """A plane (rows, cols) averaged over as many cells; itself where there are as many pixels."""
    if plane.shape == cells:
        return plane
    result = plane
    for axis, count in enumerate(cells):
        edges = np.round(np.linspace(0, result.shape[axis], count + 1)).astype(int)
        sums = np.add.reduceat(result, edges[:-1], axis=axis)
        widths = np.diff(edges).reshape([-1 if n == axis else 1 for n in range(2)])
        result = sums / widths
    return result.astype(np.float32)
