"""What all sections have in common: a .ui file, a line for messages, and actions that never raise into Qt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from SAMFinetuneLib.message_bar import MessageBar
from SAMFinetuneLib.workbench import Workbench


class Panel:
    """A section of the module.

    Args:
        bench: does the work.
        layout: of the section that the panel goes into.
        resources: the module's ``Resources`` folder.
        name: of the .ui file, without its suffix.

    Attributes:
        widget, ui: the loaded file, and its named widgets as attributes.
        messages: shows errors of this section's actions.
    """

    def __init__(self, bench: Workbench, layout: Any, resources: Path, name: str) -> None:
        self.bench = bench
        self.widget = slicer.util.loadUI(str(resources / "UI" / f"{name}.ui"))
        layout.addWidget(self.widget)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.messages = MessageBar(self.widget.layout())

    def on_click(self, button: Any, action: Callable[[], Any]) -> None:
        """Run an action at each click, with its errors shown in this section."""
        button.connect("clicked()", lambda: self.run(action))

    def run(self, action: Callable[[], Any]) -> Any:
        """Run an action; returns its result, or None after an error, which is shown in this section."""
        self.messages.clear()
        try:
            return action()
        except Exception as error:  # whatever it is, it must not end in Qt's event loop
            self.messages.show_error(error)
            return None
