"""Keys, active only while the module is open. Each is shown on its button."""

from collections.abc import Callable, Iterable
from typing import Any

import qt
import slicer


class Shortcuts:
    """Installed by :meth:`install` when the module is entered, removed by :meth:`remove` when it is left.

    Args:
        actions: by key, such as "Ctrl+Z": the button that shows it (None for none) and what it does.
    """

    def __init__(self, actions: dict[str, tuple[Any, Callable[[], Any]]]) -> None:
        self._actions = actions
        self._installed: dict[str, Any] = {}
        for key, (button, _action) in actions.items():
            if button is not None:
                button.toolTip = f"{button.toolTip} ({key})"
                if button.className() == "QPushButton":
                    button.text = f"{button.text} ({key})"
                else:
                    button.text = f"{button.text}\n({key})"

    def install(self, panel: Any) -> None:
        """Listen to the keys in the whole main window; without one, in the panel."""
        self.remove()
        parent = slicer.util.mainWindow() or panel
        for key, (_button, action) in self._actions.items():
            shortcut = qt.QShortcut(parent)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", action)
            self._installed[key] = shortcut

    def set_enabled(self, keys: Iterable[str], enabled: bool) -> None:
        """Leave some keys to somebody else for a while."""
        for key in keys:
            if key in self._installed:
                self._installed[key].setEnabled(enabled)

    def remove(self) -> None:
        """Give the keys back."""
        for shortcut in self._installed.values():
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()
