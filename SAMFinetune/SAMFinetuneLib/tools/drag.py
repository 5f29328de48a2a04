"""Tools that follow the mouse while the left button is down: box, lasso, scribble."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer

from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.tools.drawing import NEGATIVE, NEUTRAL, POSITIVE, add_line, remove, set_line
from SAMFinetuneLogic.errors import InputError, SAMFinetuneError
from SAMFinetuneLogic.imaging.axes import Axis
from SAMFinetuneLogic.mrml.markups import lasso
from SAMFinetuneLogic.mrml.slice_views import slice_in_view

Position = tuple[float, float, float]

_MIN_STEP = 0.3  # mm: the mouse sends more positions than a stroke needs


class DragTool:
    """Collects a path of RAS points and hands it on at the end.

    Args:
        prompter: takes the prompt.
        report: shows an error to the user.
        color, closed: of the line that is drawn meanwhile.
    """

    def __init__(
        self,
        prompter: Prompter,
        report: Callable[[Exception], None],
        color: tuple[float, float, float] = NEUTRAL,
        closed: bool = True,
    ) -> None:
        self.prompter = prompter
        self._report = report
        self._color, self._closed = color, closed
        self._path: list[Position] = []
        self._line: Any = None

    def press(self, slice_node: Any, position: Position) -> bool:
        self.cancel()
        self._path = [position]
        self._line = add_line(slicer.mrmlScene, "Drawing", self._color, self._closed)
        return True

    def move(self, slice_node: Any, position: Position) -> bool:
        if not self._path:
            return False
        if np.linalg.norm(np.subtract(position, self._path[-1])) >= _MIN_STEP:
            self._path.append(position)
            set_line(self._line, self.outline(slice_node))
        return True

    def release(self, slice_node: Any, position: Position) -> bool:
        if not self._path:
            return False
        self.move(slice_node, position)
        try:
            axis = slice_in_view(self.prompter.work.volume, slice_node, np.array(self._path[0])).slice.axis
            self.finish(slice_node, axis)
        except SAMFinetuneError as error:
            self._report(error)
        finally:
            self.cancel()
        return True

    def cancel(self) -> None:
        """Forget the path, such as when the tool is put away in the middle of a stroke."""
        self._path = []
        remove(self._line)
        self._line = None

    @property
    def path(self) -> Sequence[Position]:
        """The RAS points so far."""
        return self._path

    def outline(self, slice_node: Any) -> Sequence[Sequence[float]]:
        """What to draw while the button is down."""
        return self._path

    def finish(self, slice_node: Any, axis: Axis) -> None:
        """Make a prompt of the path."""
        raise NotImplementedError


class BoxTool(DragTool):
    """Drag from corner to corner; the box follows the voxel grid, also in a rotated view."""

    def outline(self, slice_node: Any) -> Sequence[Sequence[float]]:
        volume = self.prompter.work.volume
        axis = slice_in_view(volume, slice_node, np.array(self.path[0])).slice.axis
        first, last = volume.ras_to_slice(np.array([self.path[0], self.path[-1]]), axis)
        corners = [(first[0], r, c) for r, c in ((first[1], first[2]), (first[1], last[2]), (last[1], last[2]))]
        corners.append((first[0], last[1], first[2]))
        return volume.slice_to_ras(np.array(corners), axis).tolist()

    def finish(self, slice_node: Any, axis: Axis) -> None:
        volume = self.prompter.work.volume
        corners = volume.ras_to_slice(np.array([self.path[0], self.path[-1]]), axis)
        if (np.abs(corners[1, 1:] - corners[0, 1:]) < 1.0).any():
            raise InputError("The box is too small: press at one corner and drag to the opposite one.")
        corners[:, 0] = np.floor(corners[0, 0] + 0.5)  # one slice, however the view is tilted
        first, last = volume.slice_to_ras(corners, axis)
        self.prompter.add_box([tuple(first), tuple(last)], axis)


class LassoTool(DragTool):
    """Draw around the structure: its inside becomes a rough mask for the model to improve."""

    def finish(self, slice_node: Any, axis: Axis) -> None:
        if len(self.path) < 3:
            raise InputError("The outline is too short: keep the button down and draw around the structure.")
        curve = add_line(slicer.mrmlScene, "Lasso", NEUTRAL, closed=True)
        try:
            set_line(curve, self.path)
            drawn = lasso(curve, self.prompter.work.volume, axis)
        finally:
            remove(curve)
        self.prompter.add(drawn.prompt, axis)


class ScribbleTool(DragTool):
    """Draw a stroke inside or outside of the structure."""

    def __init__(self, prompter: Prompter, report: Callable[[Exception], None], positive: bool) -> None:
        super().__init__(prompter, report, POSITIVE if positive else NEGATIVE, closed=False)
        self._positive = positive

    def finish(self, slice_node: Any, axis: Axis) -> None:
        volume = self.prompter.work.volume
        stroke = volume.ras_to_slice(np.array(self.path), axis)
        stroke[:, 0] = np.floor(stroke[0, 0] + 0.5)
        self.prompter.add_scribble([tuple(p) for p in volume.slice_to_ras(stroke, axis)], self._positive, axis)
