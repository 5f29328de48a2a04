"""Loads a scripted module as Slicer does: from its file, with its folder on the path, its widget in a panel."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import PySide6.QtWidgets as QtWidgets
import shiboken6
import slicer

from slicer_host.mrml_widgets import qMRMLWidget
from slicer_host.pythonqt import QtClass, wrap


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel of a scripted module, in which its Python widget builds."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._widget: Any = None
        self.setObjectName("panel")
        self.setLayout(QtWidgets.QVBoxLayout())

    def reload(self) -> None:
        """Make the Python widget of the module as it is now, and set it up; ``slicer.modules`` has it then."""
        name = f"{self._name}Widget"
        self._widget = getattr(sys.modules[self._name], name)(wrap(self))
        setattr(slicer.modules, name, self._widget)
        self._widget.setup()

    def self(self) -> Any:
        """The Python widget."""
        return self._widget


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
    name = module.__name__
    slicer.qSlicerScriptedLoadableModuleWidget = QtClass(qSlicerScriptedLoadableModuleWidget)
    panel = qSlicerScriptedLoadableModuleWidget(name)
    slicer.app.moduleManager().modules[name].widgetRepresentation = lambda: wrap(panel)
    panel.reload()
    widget = panel.self()
    panel.resize(430, 900)
    panel.show()
    widget.enter()
    return widget


def close_module(widget: Any) -> None:
    """Leave the module and delete its widget, as Slicer does when it ends."""
    widget.exit()
    widget.cleanup()
    widget.parent._q.close()
    shiboken6.delete(widget.parent._q)
    slicer.app.moduleManager().modules[widget.moduleName].widgetRepresentation = lambda: None
    delattr(slicer.modules, type(widget).__name__)
