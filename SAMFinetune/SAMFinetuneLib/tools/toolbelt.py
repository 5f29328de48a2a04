"""Which tool the mouse holds: at most one, and none outside of the module."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import qt
import slicer

from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.tools.drag import BoxTool, DragTool, LassoTool, PaintTool, ScribbleTool
from SAMFinetuneLib.tools.markers import PromptMarkers
from SAMFinetuneLib.views import SliceViews

Tool = Literal[
    "",
    "positive",
    "negative",
    "box",
    "lasso",
    "scribble_positive",
    "scribble_negative",
    "paint_positive",
    "paint_negative",
]

_CURSOR_CENTER = 15


class Toolbelt:
    """Takes tools up and puts them away.

    Points are placed by Slicer's own markups (so that they look and behave like all others); the others take over
    the left mouse button.

    Attributes:
        changed: emitted after another tool was taken up, or none.
        before_take: called before a tool is taken up: nothing else may hold the mouse and the cursor then.
    """

    def __init__(
        self,
        prompter: Prompter,
        markers: PromptMarkers,
        views: SliceViews,
        report: Callable[[Exception], None],
        icons: Path,
    ) -> None:
        self.changed = Signal()
        self.before_take: Callable[[], None] = lambda: None
        self._markers, self._views, self._icons = markers, views, icons
        self._current: Tool = ""
        self._brushes = (PaintTool(prompter, report, positive=True), PaintTool(prompter, report, positive=False))
        self._drag: dict[str, DragTool] = {
            "box": BoxTool(prompter, report),
            "lasso": LassoTool(prompter, report),
            "scribble_positive": ScribbleTool(prompter, report, positive=True),
            "scribble_negative": ScribbleTool(prompter, report, positive=False),
            "paint_positive": self._brushes[0],
            "paint_negative": self._brushes[1],
        }
        self._interaction_tag: tuple[Any, int] | None = None

    @property
    def current(self) -> Tool:
        """The tool in hand; empty for none."""
        return self._current

    def set_brush(self, diameter: float) -> None:
        """How wide the brush paints, in mm."""
        for brush in self._brushes:
            brush.diameter = diameter

    def hand_over(self) -> None:
        """Put the tool away for somebody else, who has set the cursor already."""
        self._views.leave_cursor()
        if self._current:
            self._put_away()
            self.changed.emit()

    def take(self, tool: Tool) -> None:
        """Take up a tool, or none with an empty name."""
        if tool == self._current:
            return
        if tool:
            self.before_take()
        self._put_away()
        self._current = tool
        if tool in ("positive", "negative"):
            self._start_placing(self._markers.point_list(tool == "positive"))
        elif tool:
            self._views.handler = self._drag[tool]
        self._views.set_cursor(self._cursor(tool) if tool else None)
        self.changed.emit()

    def toggle(self, tool: Tool) -> None:
        """Take a tool up, or put it away if it is in hand."""
        self.take("" if tool == self._current else tool)

    def _put_away(self) -> None:
        if self._views.handler is not None:
            self._views.handler.cancel()
            self._views.handler = None
        if self._current in ("positive", "negative"):
            self._stop_observing()
            interaction = _interaction_node()
            interaction.SetPlaceModePersistence(0)
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self._current = ""

    def _start_placing(self, point_list: Any) -> None:
        interaction = _interaction_node()
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetReferenceActivePlaceNodeClassName(point_list.GetClassName())
        selection.SetReferenceActivePlaceNodeID(point_list.GetID())
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(interaction.Place)
        tag = interaction.AddObserver(interaction.InteractionModeChangedEvent, self._on_mode_changed)
        self._interaction_tag = (interaction, tag)

    def _on_mode_changed(self, interaction: Any, _: str) -> None:
        """The user left the place mode by Slicer's own means, such as Esc or the toolbar."""
        if self._current in ("positive", "negative") and interaction.GetCurrentInteractionMode() != interaction.Place:
            self._stop_observing()
            self._current = ""
            self._views.set_cursor(None)
            self.changed.emit()

    def _stop_observing(self) -> None:
        if self._interaction_tag is not None:
            node, tag = self._interaction_tag
            node.RemoveObserver(tag)
            self._interaction_tag = None

    def _cursor(self, tool: str) -> Any:
        """A cross with the tool's sign, so that the polarity is seen where the eyes are."""
        pixmap = qt.QPixmap(str(self._icons / f"cursor_{tool}.png"))
        return qt.QCursor(pixmap, _CURSOR_CENTER, _CURSOR_CENTER)


def _interaction_node() -> Any:
    return slicer.app.applicationLogic().GetInteractionNode()
