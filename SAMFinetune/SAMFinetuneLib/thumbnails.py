"""Small pictures of labelled slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt

from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.worker.answers import CollectionEntry

SIZE = 80
_OPACITY = 0.45


def thumbnail(entry: CollectionEntry, classes: Sequence[Segment], size: int = SIZE) -> Any:
    """A QPixmap of a slice with its labels in the colours of their classes, in true proportions."""
    colors = thumbnail_colors(entry, classes, size)
    rows, cols = colors.shape[:2]
    pixmap = qt.QPixmap()
    # As a file in memory: Qt's images over foreign memory are beyond PythonQt.
    pixmap.loadFromData(qt.QByteArray(b"P6 %d %d 255\n" % (cols, rows) + colors.tobytes()), "PPM")
    return pixmap


def thumbnail_colors(entry: CollectionEntry, classes: Sequence[Segment], size: int = SIZE) -> np.ndarray:
    """uint8 (rows, cols, 3), the longer side of ``size`` pixels."""
    height, width = (count * mm for count, mm in zip(entry.labels.shape, entry.spacing, strict=True))
    scale = size / max(height, width)
    rows, cols = (
        np.minimum((np.arange(max(round(length * scale), 1)) + 0.5) / (length * scale) * count, count - 1).astype(int)
        for length, count in zip((height, width), entry.labels.shape, strict=True)
    )
    pixels = entry.pixels[np.ix_(rows, cols)].astype(np.float32)
    colors = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    labels = entry.labels[np.ix_(rows, cols)]
    for segment in classes:
        inside = labels == segment.value
        colors[inside] = (1 - _OPACITY) * colors[inside] + _OPACITY * 255 * np.array(segment.color, dtype=np.float32)
    return np.ascontiguousarray(colors.round().astype(np.uint8))
