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
