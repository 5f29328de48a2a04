"""Loads .ui files: Qt's own widgets by Qt, ctk and qMRML widgets by our stand-ins, anything else not at all."""

import PySide6.QtCore as QtCore
import PySide6.QtUiTools as QtUiTools
import PySide6.QtWidgets as QtWidgets
import shiboken6

from slicer_host import ctk_widgets, mrml_widgets
from slicer_host.pythonqt import QtProxy, unwrap, wrap

WIDGETS = {**ctk_widgets.WIDGETS, **mrml_widgets.WIDGETS}


class _Loader(QtUiTools.QUiLoader):
    def createWidget(self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> object:
        if class_name in WIDGETS:
            widget = WIDGETS[class_name](parent)
            widget.setObjectName(name)
        elif class_name in self.availableWidgets() and class_name not in ("QWebEngineView",):
            widget = super().createWidget(class_name, parent, name)
        else:
            raise TypeError(f"The .ui file uses {class_name} ({name}), which the host does not know")
        _alive[:] = [known for known in _alive if shiboken6.isValid(known)]
        _alive.append(widget)  # the loader gives ownership to Qt, and PySide6 forgets a Python class behind it
        return widget


_alive: list[QtWidgets.QWidget] = []


class UiLoader:
    """``qt.QUiLoader`` in Slicer."""

    def load(self, file: QtProxy) -> QtProxy | None:
        device = unwrap(file)
        assert isinstance(device, QtCore.QFile)
        widget = _Loader().load(device)
        device.close()
        return wrap(widget) if widget is not None else None
