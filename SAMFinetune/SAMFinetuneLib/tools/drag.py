"""Tools that follow the mouse while the left button is down: box, lasso, scribble, brush."""

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
        try:
            self.begin(slice_node)
        except SAMFinetuneError as error:
            self.cancel()
            self._report(error)
        return True

    def move(self, slice_node: Any, position: Position) -> bool:
        if not self._path:
            return False
        if np.linalg.norm(np.subtract(position, self._path[-1])) >= _MIN_STEP:
            self._path.append(position)
            self.draw(slice_node)
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
        self.erase()

    @property
    def path(self) -> Sequence[Position]:
        """The RAS points so far."""
        return self._path

    def begin(self, slice_node: Any) -> None:
        """The button has gone down: be ready to draw."""
        self._line = add_line(slicer.mrmlScene, "Drawing", self._color, self._closed)

    def draw(self, slice_node: Any) -> None:
        """Show the path up to now."""
        set_line(self._line, self.outline(slice_node))

    def erase(self) -> None:
        """Show nothing."""
        remove(self._line)
        self._line = None

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


class PaintTool(DragTool):
    """Paint with a round brush, inside or outside of the structure; the middle of what is painted becomes a scribble.

    Attributes:
        diameter: of the brush, in mm.
    """

    def __init__(self, prompter: Prompter, report: Callable[[Exception], None], positive: bool) -> None:
        super().__init__(prompter, report, POSITIVE if positive else NEGATIVE)
        self.diameter = 5.0
        self._positive = positive
        self._brush: Any = None

    def begin(self, slice_node: Any) -> None:
        from SAMFinetuneLogic.mrml.painting import ScratchBrush  # brings scipy, too slow for opening the module

        volume = self.prompter.work.volume
        viewed = slice_in_view(volume, slice_node, np.array(self.path[0])).slice
        volume.slice_pixels(viewed)
        self._brush = ScratchBrush(slicer.mrmlScene, volume, viewed, self.diameter / 2, self._positive, self._color)
        self._brush.stroke(self.path[0], self.path[0])

    def draw(self, slice_node: Any) -> None:
        self._brush.stroke(self.path[-2], self.path[-1])

    def erase(self) -> None:
        if self._brush is not None:
            self._brush.remove()
            self._brush = None

    def finish(self, slice_node: Any, axis: Axis) -> None:
        prompts = self._brush.take()
        if not prompts:
            raise InputError("Nothing was painted: paint on the image, inside of the volume.")
        for prompt in prompts:
            self.prompter.add(prompt, axis)
