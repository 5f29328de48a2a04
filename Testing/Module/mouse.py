"""Real mouse events of Qt in the host's slice views."""

from typing import Any

import PySide6.QtCore as QtCore
from PySide6.QtTest import QTest
from slicer_host.event_loop import run_for

LEFT = QtCore.Qt.MouseButton.LeftButton
NONE = QtCore.Qt.KeyboardModifier.NoModifier


def view_of(opened: Any, name: str = "Red") -> Any:
    """The Qt widget of a slice view."""
    return opened.host.layoutManager().sliceWidget(name)._q.sliceView()


def slice_node(opened: Any, name: str = "Red") -> Any:
    """The node of a slice view."""
    return opened.host.layoutManager().sliceWidget(name).mrmlSliceNode()


def click(view: Any, ras: tuple[float, float, float]) -> None:
    """Move to a position, press and release."""
    pixel = view.pixel_of(ras)
    QTest.mouseMove(view, pixel + QtCore.QPoint(3, 3))
    run_for(0.02)
    QTest.mouseMove(view, pixel)
    run_for(0.02)
    QTest.mousePress(view, LEFT, NONE, pixel)
    QTest.mouseRelease(view, LEFT, NONE, pixel)
    run_for(0.02)


def drag(view: Any, path: list[tuple[float, float, float]]) -> None:
    """Press at the first position, move through the others, release at the last."""
    pixels = [view.pixel_of(ras) for ras in path]
    QTest.mouseMove(view, pixels[0])
    QTest.mousePress(view, LEFT, NONE, pixels[0])
    for pixel in pixels[1:]:
        QTest.mouseMove(view, pixel)
        run_for(0.01)
    QTest.mouseRelease(view, LEFT, NONE, pixels[-1])
    run_for(0.02)
