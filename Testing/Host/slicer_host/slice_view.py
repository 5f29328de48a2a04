"""A slice view: Slicer's own logic and displayable managers, rendered off screen, shown and driven in a Qt widget."""

from collections.abc import Callable

import numpy as np
import PySide6.QtCore as QtCore
import PySide6.QtGui as QtGui
import PySide6.QtWidgets as QtWidgets
import shiboken6
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

DISPLAYABLE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)


class qMRMLSliceView(QtWidgets.QWidget):
    """What ``sliceWidget(name).sliceView()`` gives: interactor, cursor, coordinates, and a rendered picture."""

    def __init__(self, logic: slicer.vtkMRMLSliceLogic, factory: object, render_allowed: Callable[[], bool]) -> None:
        super().__init__()
        self._logic = logic
        self._node = logic.GetSliceNode()
        self._render_allowed = render_allowed
        self._image = QtGui.QImage()
        self._pending = False
        self._default_cursor = QtGui.QCursor()
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)  # anti-aliasing takes two thirds of a software renderer's time
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._background = vtk.vtkActor2D()
        self._background.SetMapper(self._mapper)
        self._background.GetProperty().SetDisplayLocationToBackground()
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self._renderer)
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(logic)
        self._style.SetDisplayableManagers(self._group)
        self._style.SetInteractor(self._interactor)
        self._group.SetMRMLDisplayableNode(self._node)
        self._group.AddObserver(vtk.vtkCommand.UpdateEvent, self._request)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_logic_modified)
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._request)
        self._interactor.Initialize()

    # What Slicer's class offers

    def interactor(self) -> vtk.vtkRenderWindowInteractor:
        return self._interactor

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._window

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._node

    def setViewCursor(self, cursor: QtGui.QCursor) -> None:
        self.setCursor(cursor)

    def setDefaultViewCursor(self, cursor: QtGui.QCursor) -> None:
        self._default_cursor = cursor

    def unsetViewCursor(self) -> None:
        self.unsetCursor()

    def scheduleRender(self) -> None:
        self._request()

    def forceRender(self) -> None:
        self._render()

    # For the tests

    def pixel_of(self, ras: tuple[float, float, float]) -> QtCore.QPoint:
        """The widget's pixel that shows a RAS position; it must lie in the shown slice."""
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._node.GetXYToRAS(), to_xy)
        x, y, depth, _ = to_xy.MultiplyPoint((*ras, 1.0))
        if abs(depth) > 0.51:
            raise ValueError(f"{ras} lies {depth:.2f} slices away from the one shown")
        return QtCore.QPoint(round(x), self.height() - 1 - round(y))

    def ras_of(self, pixel: QtCore.QPoint) -> tuple[float, float, float]:
        """The RAS position under a pixel of the widget."""
        xyz = (pixel.x(), self.height() - 1 - pixel.y(), 0, 1)
        return self._node.GetXYToRAS().MultiplyPoint(xyz)[:3]

    def picture(self) -> np.ndarray:
        """What the view shows, uint8 (rows, cols, 3)."""
        self._render()
        return self._pixels

    # Rendering

    def _on_logic_modified(self, *_: object) -> None:
        connection = self._logic.GetImageDataConnection()
        shown = self._renderer.HasViewProp(self._background)
        if connection is None and shown:
            self._renderer.RemoveViewProp(self._background)
        elif connection is not None:
            self._mapper.SetInputConnection(connection)
            if not shown:
                self._renderer.AddViewProp(self._background)
        self._request()

    def _request(self, *_: object) -> None:
        if not self._pending and shiboken6.isValid(self):
            self._pending = True
            QtCore.QTimer.singleShot(15, self._render_when_allowed)

    def _render_when_allowed(self) -> None:
        self._pending = False
        if not shiboken6.isValid(self):
            return
        if not self._render_allowed():
            self._request()
        elif self.isVisible():
            self._render()

    def _render(self) -> None:
        self._window.Render()
        reader = vtk.vtkWindowToImageFilter()
        reader.SetInput(self._window)
        reader.ShouldRerenderOff()  # it would draw everything a second time
        reader.ReadFrontBufferOff()
        reader.Update()
        image = reader.GetOutput()
        cols, rows, _ = image.GetDimensions()
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, cols, -1)[::-1, :, :3]
        self._pixels = np.ascontiguousarray(values)
        self._image = QtGui.QImage(self._pixels.data, cols, rows, 3 * cols, QtGui.QImage.Format.Format_RGB888)
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, self._image)
        painter.end()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        width, height = event.size().width(), event.size().height()
        self._window.SetSize(width, height)
        self._interactor.UpdateSize(width, height)
        self._logic.ResizeSliceNode(width, height)
        self._request()

    # Mouse

    def _locate(self, event: QtGui.QMouseEvent) -> None:
        position, keys = event.position().toPoint(), event.modifiers()
        control = bool(keys & QtCore.Qt.KeyboardModifier.ControlModifier)
        shift = bool(keys & QtCore.Qt.KeyboardModifier.ShiftModifier)
        self._interactor.SetEventInformation(position.x(), self.height() - 1 - position.y(), control, shift)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        self._locate(event)
        self._button(event, "Press")

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
        """VTK says this in place of the second press."""
        self._locate(event)
        if event.button() == QtCore.Qt.MouseButton.LeftButton:
            self._interactor.InvokeEvent(vtk.vtkCommand.LeftButtonDoubleClickEvent)

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        self._locate(event)
        self._button(event, "Release")

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        self._locate(event)
        self._interactor.MouseMoveEvent()
        # As Slicer's interactor style and VTK's adapter do, where no markup has a cursor of its own.
        self.setCursor(self._default_cursor)

    def enterEvent(self, _: QtGui.QEnterEvent) -> None:
        self._interactor.EnterEvent()

    def leaveEvent(self, _: QtCore.QEvent) -> None:
        self._interactor.LeaveEvent()

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        forward = event.angleDelta().y() > 0
        (self._interactor.MouseWheelForwardEvent if forward else self._interactor.MouseWheelBackwardEvent)()

    def _button(self, event: QtGui.QMouseEvent, action: str) -> None:
        names = {
            QtCore.Qt.MouseButton.LeftButton: "Left",
            QtCore.Qt.MouseButton.RightButton: "Right",
            QtCore.Qt.MouseButton.MiddleButton: "Middle",
        }
        getattr(self._interactor, f"{names[event.button()]}Button{action}Event")()


class qMRMLSliceWidget(QtWidgets.QWidget):
    """What ``layoutManager().sliceWidget(name)`` gives."""

    def __init__(self, view: qMRMLSliceView, logic: slicer.vtkMRMLSliceLogic) -> None:
        super().__init__()
        self._view, self._logic = view, logic
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        bar = QtWidgets.QLabel(logic.GetSliceNode().GetName())
        colours = {"Red": "#c8503c", "Green": "#5a9646", "Yellow": "#c8aa3c"}
        bar.setStyleSheet(f"background: {colours.get(logic.GetSliceNode().GetName(), '#666')}; color: white")
        bar.setFixedHeight(16)
        layout.addWidget(bar)
        layout.addWidget(view, 1)

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._logic

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        return self._logic.GetSliceCompositeNode()

    def interactorStyle(self) -> object:
        return self._view._style
