"""``slicer.ScriptedLoadableModule``: the four base classes of a scripted module, as far as ours uses them."""

import importlib
import os
import unittest
from typing import Any

import PySide6.QtWidgets as QtWidgets
import slicer

from slicer_host.mrml_widgets import qMRMLWidget
from slicer_host.pythonqt import wrap


class ScriptedLoadableModule:
    """What Slicer reads when it discovers the module."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def runTest(self, msec: int = 100, **kwargs: Any) -> None:
        module = importlib.import_module(type(self).__module__)
        test = getattr(module, self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The module's panel."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        if parent is None:
            widget = qMRMLWidget()
            widget.setLayout(QtWidgets.QVBoxLayout())
            parent = wrap(widget)
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def setup(self) -> None:
        """Overridden; adds the developer's section, of which the host has the button "Reload"."""
        if self.developerMode:
            button = wrap(QtWidgets.QPushButton("Reload"))
            button.name = "ReloadButton"
            button.connect("clicked()", self.onReload)
            self.layout.addWidget(button)

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def cleanup(self) -> None:
        """Overridden."""


class ScriptedLoadableModuleLogic:
    """The module's work, without widgets."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        if node.GetAttribute("ModuleName") != self.moduleName:
            node.SetAttribute("ModuleName", self.moduleName)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's self-test."""

    messageDelay = 100

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def runTest(self) -> None:
        """Overridden."""

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        print(message)
