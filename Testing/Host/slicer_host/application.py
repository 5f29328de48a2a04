"""``slicer.app``, ``slicer.modules``, the layout with three slice views; and how all of it is put in place."""

import ctypes
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import PySide6.QtWidgets as QtWidgets
import shiboken6
import slicer
import slicer.util

from slicer_host import ctk_widgets, mrml_widgets, parameter_node, sample_data, scripted_module
from slicer_host.event_loop import process_events
from slicer_host.file_dialog import QFileDialog
from slicer_host.packaging_module import Packaging
from slicer_host.pythonqt import QtClass, QtModule, wrap
from slicer_host.settings import QSettings
from slicer_host.slice_view import DISPLAYABLE_MANAGERS, qMRMLSliceView, qMRMLSliceWidget
from slicer_host.ui_loader import UiLoader

VIEWS = (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal"))


class LayoutManager:
    """Three slice views in a row."""

    def __init__(self, application: "Application") -> None:
        self._widgets: dict[str, qMRMLSliceWidget] = {}
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application.applicationLogic())
        for manager in DISPLAYABLE_MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.window = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(self.window)
        row.setContentsMargins(0, 0, 0, 0)
        self._application, self._factory, self._row = application, factory, row
        self._logics = application.slice_logics
        for name, orientation in VIEWS:
            self.add_view(name, orientation)
        self.window.resize(960, 320)
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndCloseEvent, lambda *_: self._restore_orientations())

    def add_view(self, name: str, orientation: str) -> None:
        """Another slice view, as of a layout with more of them: the node first, then its view."""
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application.applicationLogic())
        logic.SetMRMLScene(slicer.mrmlScene)
        node = logic.AddSliceNode(name)
        node.SetOrientation(orientation)
        node.SetMappedInLayout(1)
        self._logics.AddItem(logic)
        view = qMRMLSliceView(logic, self._factory, lambda: not self._application.paused)
        self._widgets[name] = qMRMLSliceWidget(view, logic)
        self._row.addWidget(self._widgets[name])

    def remove_view(self, name: str) -> None:
        """The inverse of :meth:`add_view`: the view is deleted, whoever holds it."""
        widget = self._widgets.pop(name)
        self._row.removeWidget(widget)
        widget.hide()
        self._logics.RemoveItem(widget.sliceLogic())
        slicer.mrmlScene.RemoveNode(widget.mrmlSliceNode())
        shiboken6.delete(widget)

    def _restore_orientations(self) -> None:
        for (name, orientation), widget in zip(VIEWS, self._widgets.values(), strict=True):
            assert widget.mrmlSliceNode().GetLayoutName() == name
            widget.mrmlSliceNode().SetOrientation(orientation)

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> Any:
        return wrap(self._widgets[name])

    def mrmlSliceLogics(self) -> Any:
        return self._logics

    def resetSliceViews(self) -> None:
        for widget in self._widgets.values():
            widget.sliceLogic().FitSliceToBackground()


class ModuleManager:
    """The modules that the host has loaded."""

    def __init__(self) -> None:
        self.modules: dict[str, Any] = {}

    def module(self, name: str) -> Any:
        return self.modules.get(name)


class Application:
    """``slicer.app``. Anything that is not here does not exist."""

    applicationName = "SlicerHost"
    applicationVersion = "5.12.0-host"
    majorVersion, minorVersion = 5, 12

    def __init__(self) -> None:
        import vtk

        self.qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["SlicerHost"])
        self.temporaryPath = tempfile.mkdtemp(prefix="slicer-host-")
        self.slicerUserSettingsFilePath = str(Path(self.temporaryPath) / "Slicer.ini")
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self.slice_logics = vtk.vtkCollection()
        self._logic.SetSliceLogics(self.slice_logics)
        self.paused = 0
        self._layout: LayoutManager | None = None
        self._modules = ModuleManager()
        self.statuses: list[str] = []

    def applicationLogic(self) -> Any:
        return self._logic

    def layoutManager(self) -> LayoutManager | None:
        return self._layout

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def pauseRender(self) -> None:
        self.paused += 1

    def resumeRender(self) -> None:
        self.paused -= 1

    def processEvents(self) -> None:
        process_events()

    def testingEnabled(self) -> bool:
        return True

    def topLevelWidgets(self) -> list[Any]:
        return []

    def settings(self) -> QSettings:
        return QSettings()

    def userSettings(self) -> QSettings:
        return QSettings()

    def setOverrideCursor(self, cursor: Any) -> None:
        QtWidgets.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        QtWidgets.QApplication.restoreOverrideCursor()


class Modules(types.SimpleNamespace):
    """``slicer.modules``: loaded modules in lower case."""


class _Loaded:
    """A loaded module that only gives its logic."""

    def __init__(self, logic: Any) -> None:
        self._logic = logic

    def logic(self) -> Any:
        return self._logic


def _keep_constants() -> None:
    """Make None, True and False survive: PySide6 6.12 hands them out without taking a reference.

    That is harmless from Python 3.12 on, where they are immortal; before, the interpreter would end in an error.
    """
    if sys.version_info < (3, 12):
        for value in (None, True, False):
            ctypes.c_ssize_t.from_address(id(value)).value += 1 << 40


def start() -> Application:
    """Put the stand-ins in place; once a process."""
    if getattr(slicer, "app", None) is not None:
        return slicer.app
    _keep_constants()
    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.app = Application()
    logic = slicer.app.applicationLogic()
    slicer.modules = Modules()
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLApplicationLogic(logic)
    colors.SetMRMLScene(slicer.mrmlScene)
    logic.SetColorLogic(colors)
    for name, cls in (
        ("Volumes", slicer.vtkSlicerVolumesLogic),
        ("Markups", slicer.vtkSlicerMarkupsLogic),
        ("Segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
        ("SubjectHierarchy", slicer.vtkSlicerSubjectHierarchyModuleLogic),
        ("Sequences", slicer.vtkSlicerSequencesLogic),
    ):
        module_logic = cls()
        module_logic.SetMRMLApplicationLogic(logic)
        module_logic.SetMRMLScene(slicer.mrmlScene)
        logic.SetModuleLogic(name, module_logic)
        setattr(slicer.modules, name.lower(), _Loaded(module_logic))
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(slicer.mrmlScene)
    # Scene bundles are unpacked in the cache's folder.
    cache, data = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(slicer.app.temporaryPath)
    cache.SetMRMLScene(slicer.mrmlScene)
    data.SetCacheManager(cache)
    slicer.mrmlScene.SetCacheManager(cache)
    slicer.mrmlScene.SetDataIOManager(data)
    _install_modules()
    slicer.app._layout = LayoutManager(slicer.app)
    return slicer.app


def _install_modules() -> None:
    qt = QtModule({"QUiLoader": UiLoader, "QSettings": QSettings, "QFileDialog": QFileDialog})
    ctk = types.SimpleNamespace(__name__="ctk", **{n: QtClass(c) for n, c in ctk_widgets.WIDGETS.items()})
    sys.modules.update({"qt": qt, "ctk": ctk})
    for name, cls in mrml_widgets.WIDGETS.items():
        setattr(slicer, name, QtClass(cls))
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    names = [name for name in dir(scripted_module) if name.startswith("ScriptedLoadableModule")]
    for name in names:
        setattr(base, name, getattr(scripted_module, name))
    base.__all__ = names
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    wrapper.parameterNodeWrapper = parameter_node.parameterNodeWrapper
    slicer.packaging = Packaging()
    sys.modules["SampleData"] = sample_data.module()
    for module in (i18n, base, wrapper, slicer.packaging):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.split(".")[1], module)
