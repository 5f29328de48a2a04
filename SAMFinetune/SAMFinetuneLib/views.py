"""The slice views: which one the user is in, its mouse events, its cursor, and where it stands."""

import logging
from collections.abc import Iterator
from typing import Any, Protocol

import qt
import slicer
import vtk

from SAMFinetuneLib.signal import Signal

_log = logging.getLogger(__name__)

Position = tuple[float, float, float]

_PRIORITY = 10.0  # before the view's own handling, which an active tool replaces


class MouseHandler(Protocol):
    """A tool that takes over the left mouse button. Positions are RAS in mm."""

    def press(self, slice_node: Any, position: Position) -> bool: ...
    def move(self, slice_node: Any, position: Position) -> bool: ...
    def release(self, slice_node: Any, position: Position) -> bool: ...


class SliceViews:
    """Observes all slice views between :meth:`attach` and :meth:`detach`.

    Attributes:
        handler: gets the mouse; it says by True that the view itself must not react.
        active_changed: emitted with the slice node when the mouse enters another view.
        slice_changed: emitted with the slice node when the active view shows another slice.
    """

    def __init__(self) -> None:
        self.handler: MouseHandler | None = None
        self.active_changed = Signal()
        self.slice_changed = Signal()
        self._active: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._views: list[tuple[Any, Any]] = []
        self._cursor: Any = None

    @property
    def active(self) -> Any:
        """The slice node that the user is in: the one last entered, at first the first; None without views."""
        if self._active is None or self._active.GetScene() is None:
            self._active = next((view.mrmlSliceNode() for view in _slice_views()), None)
        return self._active

    def all_nodes(self) -> list[Any]:
        """The slice nodes of the views that the layout shows."""
        nodes = [view.mrmlSliceNode() for view in _slice_views()]
        return [node for node in nodes if node.IsMappedInLayout()] or nodes

    def attach(self) -> None:
        """Start observing the views that are there, and those that another layout adds."""
        cursor = self._cursor
        self.detach()
        for view in _slice_views():
            interactor, node = view.interactor(), view.mrmlSliceNode()
            self._views.append((view, node))
            for event, action in (
                ("LeftButtonPressEvent", "press"),
                ("LeftButtonDoubleClickEvent", "press"),  # comes in place of the second press
                ("MouseMoveEvent", "move"),
                ("LeftButtonReleaseEvent", "release"),
            ):
                self._observe_mouse(interactor, node, event, action)
            self._observed.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_slice_modified)))
        scene = slicer.mrmlScene
        self._observed.append((scene, scene.AddObserver(scene.NodeAddedEvent, self._on_node_added)))
        self.set_cursor(cursor)

    def detach(self) -> None:
        """Stop observing, and give the views their own cursor back."""
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed.clear()
        self.set_cursor(None)
        self._views.clear()

    def leave_cursor(self) -> None:
        """Somebody else has set the cursor: it stays as it is."""
        self._cursor = None

    def set_cursor(self, cursor: Any) -> None:
        """Show a cursor in all views; None for their own.

        As the default too: VTK goes back to that one with each movement of the mouse that no markup takes.
        """
        self._cursor = cursor
        for view, node in self._views:
            if node.GetScene() is None:
                continue  # Slicer deletes the view with its node
            try:
                if cursor is None:
                    view.unsetViewCursor()
                    view.setDefaultViewCursor(qt.QCursor())
                else:
                    view.setViewCursor(cursor)
                    view.setDefaultViewCursor(cursor)
            except (TypeError, ValueError):  # what PythonQt raises of a deleted one: the application is ending
                _log.debug("A slice view is gone already.")

    def _observe_mouse(self, interactor: Any, node: Any, event: str, action: str) -> None:
        def react(caller: Any, _: str) -> None:
            self._enter(node)
            if self.handler is None:
                return
            x, y = caller.GetEventPosition()
            position = node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3]
            if getattr(self.handler, action)(node, position):
                caller.GetCommand(tag).SetAbortFlag(1)

        tag = interactor.AddObserver(event, react, _PRIORITY)
        self._observed.append((interactor, tag))

    def _enter(self, node: Any) -> None:
        if node is not self._active:
            self._active = node
            self.active_changed.emit(node)
            self.slice_changed.emit(node)

    def _on_slice_modified(self, node: Any, _: str) -> None:
        if node is self.active:
            self.slice_changed.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, _caller: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSliceNode"):
            qt.QTimer.singleShot(0, self._attach_again)  # its view is made after it

    def _attach_again(self) -> None:
        if self._observed:
            self.attach()


def _slice_views() -> Iterator[Any]:
    layout = slicer.app.layoutManager()
    if layout is not None:  # there is none in Slicer without a main window
        for name in layout.sliceViewNames():
            yield layout.sliceWidget(name).sliceView()
