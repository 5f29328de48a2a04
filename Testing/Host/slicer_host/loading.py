"""Loads a scripted module as Slicer does: from its file, with its folder on the path, its widget in a panel."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import PySide6.QtWidgets as QtWidgets
import slicer

from slicer_host.mrml_widgets import qMRMLNodeComboBox, qMRMLWidget
from slicer_host.pythonqt import wrap


def load_module(path: Path) -> types.ModuleType:
    """Import the module's file and create its module object, as Slicer does at its start."""
    name = path.stem
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = types.SimpleNamespace(path=str(path), name=name)
    slicer.app.moduleManager().modules[name] = parent
    getattr(module, name)(parent)
    setattr(slicer.modules, name.lower(), parent)
    return module


def open_module(module: types.ModuleType) -> Any:
    """Make the module's widget and enter it, as Slicer does when the user chooses the module."""
    panel = qMRMLWidget()
    panel.setObjectName("panel")
    panel.setLayout(QtWidgets.QVBoxLayout())
    widget = getattr(module, module.__name__ + "Widget")(wrap(panel))
    slicer.app.moduleManager().modules[module.__name__].widget = widget
    widget.setup()
    panel.resize(430, 900)
    panel.show()
    widget.enter()
    return widget


def close_module(widget: Any) -> None:
    """Leave the module and delete its widget, as Slicer does when it ends."""
    widget.exit()
    widget.cleanup()
    for child in widget.parent._q.findChildren(QtWidgets.QWidget):
        if isinstance(child, qMRMLWidget | qMRMLNodeComboBox):
            child.setMRMLScene(None)  # as the C++ destructors do
    widget.parent._q.close()
    widget.parent._q.deleteLater()
