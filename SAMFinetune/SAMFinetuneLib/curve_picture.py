"""The loss and the Dice of a job as a small picture."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import qt

from SAMFinetuneLib.learning import Point

_WIDTH, _HEIGHT, _MARGIN = 360, 90, 6
_LOSS, _DICE, _FRAME = "#b0583c", "#2c7fb8", "#c8c8c8"


def draw_curve(points: Sequence[Point], steps: int) -> Any:
    """A QPixmap: loss (from 0 to its largest value) and validation Dice (0 to 1) over ``steps``."""
    pixmap = qt.QPixmap(_WIDTH, _HEIGHT)
    pixmap.fill(qt.QColor("white"))
    painter = qt.QPainter(pixmap)
    painter.setPen(qt.QColor(_FRAME))
    painter.drawRect(0, 0, _WIDTH - 1, _HEIGHT - 1)
    losses = [(point.step, point.loss) for point in points if point.loss is not None]
    top = max((loss for _, loss in losses), default=1.0) or 1.0
    _line(painter, [(step, loss / top) for step, loss in losses], steps, _LOSS)
    _line(painter, [(point.step, point.dice) for point in points if point.dice is not None], steps, _DICE)
    painter.end()
    return pixmap


def _line(painter: Any, points: list[tuple[int, float]], steps: int, color: str) -> None:
    painter.setPen(qt.QColor(color))
    across, down = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    pixels = [
        (int(_MARGIN + across * step / max(steps, 1)), int(_MARGIN + down * (1 - min(max(value, 0.0), 1.0))))
        for step, value in points
    ]
    for (x0, y0), (x1, y1) in pairwise(pixels):
        painter.drawLine(x0, y0, x1, y1)
