"""Shows the prompts of the chosen segment as markups, and takes what the user does with the points back.

The session holds the truth; the markups follow it after each change, undo and redo included. Points can be dragged
and deleted as any markups; boxes and strokes are outlines.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from slicer.util import VTKObservationMixin

from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.tools.drawing import NEGATIVE, NEUTRAL, POSITIVE, add_line, add_markup, remove, set_line
from SAMFinetuneLogic.errors import SAMFinetuneError
from SAMFinetuneLogic.imaging.axes import AXES
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.markups import set_negative, set_points
from SAMFinetuneLogic.prompting.placement import box_voxels
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, PointPrompt, ScribblePrompt
from SAMFinetuneLogic.prompting.session_state import PlacedPrompt

_TOLERANCE = 1e-3  # mm


class PromptMarkers(VTKObservationMixin):
    """Two lists of points, an outline for each box and a line for each scribble.

    Args:
        prompter: whose prompts are shown.
        axis_of_view: the axis of the slice that the user clicks in.
        report: shows an error to the user.
    """

    def __init__(
        self, prompter: Prompter, axis_of_view: Callable[[], str], report: Callable[[Exception], None]
    ) -> None:
        super().__init__()
        self._prompter = prompter
        self._axis_of_view = axis_of_view
        self._report = report
        self._lists: dict[bool, Any] = {}
        self._lines: dict[int, Any] = {}
        self._drawn: dict[int, Any] = {}
        self._syncing = False
        prompter.changed.connect(self.sync)

    def point_list(self, positive: bool) -> Any:
        """The fiducial list for positive or negative points, made when first needed."""
        node = self._lists.get(positive)
        if node is None or node.GetScene() is None:
            name = "Positive points" if positive else "Negative points"
            color = POSITIVE if positive else NEGATIVE
            node = add_markup(slicer.mrmlScene, "vtkMRMLMarkupsFiducialNode", name, color, hidden=False)
            node.GetDisplayNode().SetGlyphScale(2.0)
            set_negative(node, not positive)
            self._lists[positive] = node
            self.addObserver(node, node.PointPositionDefinedEvent, self._on_defined)
            self.addObserver(node, node.PointEndInteractionEvent, self._on_dragged)
            self.addObserver(node, node.PointRemovedEvent, self._on_removed)
        return node

    def sync(self) -> None:
        """Make the markups show what the session holds."""
        if self._syncing:
            return
        self._syncing = True
        try:
            placed = self._prompter.prompts()
            for positive in (True, False):
                points = _points(placed, positive)
                if points or self._lists.get(positive) is not None:
                    self._sync_points(self.point_list(positive), points)
            self._sync_lines(placed)
        finally:
            self._syncing = False

    def remove_all(self) -> None:
        """Take everything out of the scene."""
        self.removeObservers()
        for node in (*self._lists.values(), *self._lines.values()):
            remove(node)
        self._lists.clear()
        self._lines.clear()
        self._drawn.clear()

    def close(self) -> None:
        """Remove everything and stop following the session."""
        self._prompter.changed.disconnect(self.sync)
        self.remove_all()

    def _sync_points(self, node: Any, points: list[PlacedPrompt]) -> None:
        wanted = np.array([placed.prompt.position for placed in points]).reshape(-1, 3)
        shown = np.array([_position(node, n) for n in _defined(node)]).reshape(-1, 3)
        if wanted.shape != shown.shape or not np.allclose(wanted, shown, rtol=0, atol=_TOLERANCE):
            set_points(node, [placed.prompt for placed in points])

    def _sync_lines(self, placed: tuple[PlacedPrompt, ...]) -> None:
        lines = {p.id: p for p in placed if isinstance(p.prompt, BoxPrompt | ScribblePrompt)}
        for number in set(self._lines) - set(lines):
            remove(self._lines.pop(number))
            self._drawn.pop(number, None)
        volume = self._prompter.work.volume if lines else None
        for number, entry in lines.items():
            key = (entry.prompt, self._prompter.slice)
            if self._drawn.get(number) == key and self._lines[number].GetScene() is not None:
                continue
            if isinstance(entry.prompt, BoxPrompt):
                points, color, closed = _outline(volume, entry, self._prompter.slice.index), NEUTRAL, True
            else:
                color = POSITIVE if entry.prompt.positive else NEGATIVE
                points, closed = [list(point) for point in entry.prompt.points], False
            node = self._lines.get(number)
            if node is None or node.GetScene() is None:
                node = self._lines[number] = add_line(slicer.mrmlScene, "Prompt", color, closed)
            set_line(node, points)
            self._drawn[number] = key

    def _on_defined(self, node: Any, _: str) -> None:
        if self._syncing:
            return
        positive = node is self._lists.get(True)
        known = _points(self._prompter.prompts(), positive)
        try:
            for n in _defined(node)[len(known) :]:
                self._prompter.add_point(_position(node, n), positive, self._axis_of_view())
        except SAMFinetuneError as error:
            self._report(error)
            self._prompter.refresh()  # the point that could not be used goes away

    def _on_dragged(self, node: Any, _: str) -> None:
        if self._syncing:
            return
        positive = node is self._lists.get(True)
        known = _points(self._prompter.prompts(), positive)
        try:
            for placed, n in zip(known, _defined(node), strict=False):
                position = _position(node, n)
                if not np.allclose(position, placed.prompt.position, rtol=0, atol=_TOLERANCE):
                    self._prompter.move(placed.id, PointPrompt(position, positive))
        except SAMFinetuneError as error:
            self._report(error)
            self._prompter.refresh()

    def _on_removed(self, node: Any, _: str) -> None:
        if self._syncing:
            return
        left = [_position(node, n) for n in _defined(node)]
        for placed in _points(self._prompter.prompts(), node is self._lists.get(True)):
            if not any(np.allclose(placed.prompt.position, p, rtol=0, atol=_TOLERANCE) for p in left):
                self._prompter.remove(placed.id)


def _points(placed: tuple[PlacedPrompt, ...], positive: bool) -> list[PlacedPrompt]:
    return [p for p in placed if isinstance(p.prompt, PointPrompt) and p.prompt.positive == positive]


def _defined(node: Any) -> list[int]:
    """The points that are placed; not the preview that hangs on the mouse."""
    status = node.PositionDefined
    return [n for n in range(node.GetNumberOfControlPoints()) if node.GetNthControlPointPositionStatus(n) == status]


def _position(node: Any, n: int) -> tuple[float, float, float]:
    position = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(n, position)
    return position[0], position[1], position[2]


def _outline(volume: Volume, placed: PlacedPrompt, index: int) -> list[list[float]]:
    """The four corners of a box on the slice shown, or on the nearest of its slices."""
    first, last = box_voxels(volume, placed.prompt)
    column = AXES.index(placed.axis)
    at = int(np.clip(index, first[column], last[column]))
    a, b = (n for n in range(3) if n != column)
    corners = np.tile(np.asarray(first, dtype=np.float64), (4, 1))
    corners[:, column] = at
    corners[1, a] = corners[2, a] = last[a]
    corners[2, b] = corners[3, b] = last[b]
    return volume.to_ras(corners).tolist()
