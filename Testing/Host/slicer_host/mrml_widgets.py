"""The qMRML widgets that the module uses, with the properties, methods and signals that it uses, and no others."""

from collections.abc import Callable
from typing import Any, ClassVar

import PySide6.QtCore as QtCore
import PySide6.QtGui as QtGui
import PySide6.QtWidgets as QtWidgets
import slicer
from PySide6.QtCore import Property, Signal


def _stored(name: str, kind: Any) -> Property:
    def read(self: Any) -> Any:
        return self._values[name]

    def write(self: Any, value: Any) -> None:
        self._values[name] = value

    return Property(kind, read, write)


class _Observers:
    """Of a widget: they go with it, as by the destructor of Slicer's class."""

    def __init__(self, owner: QtWidgets.QWidget) -> None:
        self._tags: list[tuple[Any, int]] = []
        owner.destroyed.connect(self.clear)

    def observe(self, observed: Any, events: tuple[int, ...], react: Callable[[], None]) -> None:
        """In place of what was observed before."""
        self.clear()
        self._tags = [(observed, observed.AddObserver(event, lambda *_: react())) for event in events]

    def clear(self) -> None:
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags = []


class qMRMLWidget(QtWidgets.QWidget):
    """The base: a widget that knows a scene."""

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        self._scene = scene

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return getattr(self, "_scene", None)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """The nodes of some classes in a list; selects a new or the first node by itself unless None is allowed."""

    nodeChanged = Signal(object)
    SIGNATURES: ClassVar[dict[str, str]] = {"currentNodeChanged(vtkMRMLNode*)": "nodeChanged"}

    noneEnabled = _stored("noneEnabled", bool)
    addEnabled = _stored("addEnabled", bool)
    removeEnabled = _stored("removeEnabled", bool)
    editEnabled = _stored("editEnabled", bool)
    renameEnabled = _stored("renameEnabled", bool)
    showHidden = _stored("showHidden", bool)
    showChildNodeTypes = _stored("showChildNodeTypes", bool)
    selectNodeUponCreation = _stored("selectNodeUponCreation", bool)
    nodeTypes = _stored("nodeTypes", "QStringList")
    noneDisplay = _stored("noneDisplay", str)
    baseName = _stored("baseName", str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {
            "nodeTypes": [],
            "noneEnabled": False,
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "showHidden": False,
            "showChildNodeTypes": True,
            "noneDisplay": "None",
            "baseName": "",
            "selectNodeUponCreation": False,
        }
        self._scene: slicer.vtkMRMLScene | None = None
        self._observers, self._import_observers = _Observers(self), _Observers(self)
        self._current: str | None = None
        self._box = QtWidgets.QComboBox()
        self._box.setObjectName("qt_node_box")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(lambda index: self.setCurrentNodeID(self._box.itemData(index)))
        self.setEnabled(False)

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        self._observers.clear()
        self._import_observers.clear()
        self._scene = scene
        self.setEnabled(scene is not None)
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent)
            self._observers.observe(scene, events, self._refresh)
            self._import_observers.observe(scene, (scene.EndImportEvent,), self._rebuild)
        self._refresh()

    def _rebuild(self) -> None:
        """After an import Slicer's model removes all rows and makes them anew, and nothing is selected again."""
        if self._values["noneEnabled"]:
            self.setCurrentNodeID(None)
        self._refresh()

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        self.setCurrentNodeID(node.GetID() if node else "")

    def setCurrentNodeID(self, node_id: str | None) -> None:
        new = node_id or None
        if new == "add":
            new = self.addNode().GetID()
        if new is not None and new not in [node.GetID() for node in self._nodes()]:
            new = None
        changed, self._current = new != self._current, new
        self._show()
        if changed:
            self.nodeChanged.emit(self.currentNode())

    def addNode(self, node_type: str = "") -> slicer.vtkMRMLNode:
        class_name = node_type or self._values["nodeTypes"][0]
        base = self._values["baseName"] or class_name.removeprefix("vtkMRML").removesuffix("Node")
        return self._scene.AddNewNodeByClass(class_name, self._scene.GenerateUniqueName(base))

    def nodeCount(self) -> int:
        return len(self._nodes())

    def _nodes(self) -> list[slicer.vtkMRMLNode]:
        if self._scene is None:
            return []
        found = []
        for class_name in self._values["nodeTypes"]:
            for node in slicer.util.getNodesByClass(class_name, self._scene):
                exact = node.GetClassName() == class_name or self._values["showChildNodeTypes"]
                if exact and node not in found and (self._values["showHidden"] or not node.GetHideFromEditors()):
                    found.append(node)
        return found

    def _refresh(self) -> None:
        nodes = self._nodes()
        ids = [node.GetID() for node in nodes]
        if self._current in ids:
            self._show()
        elif nodes and not self._values["noneEnabled"]:
            self.setCurrentNodeID(ids[0])
        else:
            self.setCurrentNodeID("")

    def _show(self) -> None:
        self._box.clear()
        if self._values["noneEnabled"]:
            self._box.addItem(self._values["noneDisplay"], "")
        for node in self._nodes():
            self._box.addItem(node.GetName(), node.GetID())
        self._box.setCurrentIndex(
            max(self._box.findData(self._current or ""), 0 if self._values["noneEnabled"] else -1)
        )

    def _get_id(self) -> str:
        return self._current or ""

    currentNodeID = Property(str, _get_id, setCurrentNodeID)


class qMRMLSegmentsTableView(qMRMLWidget):
    """Segments with colour and name; one can be selected."""

    rowsSelected = Signal()
    SIGNATURES: ClassVar[dict[str, str]] = {"selectionChanged(QItemSelection,QItemSelection)": "rowsSelected"}

    headerVisible = _stored("headerVisible", bool)
    filterBarVisible = _stored("filterBarVisible", bool)
    readOnly = _stored("readOnly", bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._observers = _Observers(self)
        self._values = {"headerVisible": True, "filterBarVisible": False, "readOnly": False}
        self._table = QtWidgets.QTableWidget(0, 2, self)
        self._table.setObjectName("qt_segments")
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setHorizontalHeaderLabels(["", "Name"])
        self._table.setColumnWidth(0, 28)
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.itemSelectionChanged.connect(self.rowsSelected)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._observers.clear()
        self._node = node
        if node is not None:
            events = (
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,
            )
            self._observers.observe(node, events, self._show)
        self._show()

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        super().setMRMLScene(scene)
        if scene is None:
            self.setSegmentationNode(None)

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self._node

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        rows = {index.row() for index in self._table.selectionModel().selectedRows()}
        return tuple(self._table.item(row, 1).data(QtCore.Qt.ItemDataRole.UserRole) for row in sorted(rows))

    def setSelectedSegmentIDs(self, ids: list[str]) -> None:
        if self._node is None and ids:
            raise RuntimeError("setSelectedSegmentIDs failed: segmentation node is not set")
        for row in range(self._table.rowCount()):
            if self._table.item(row, 1).data(QtCore.Qt.ItemDataRole.UserRole) in ids:
                self._table.selectRow(row)
                return
        self._table.clearSelection()

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def _show(self) -> None:
        selected = list(self.selectedSegmentIDs())
        self._table.blockSignals(True)
        segmentation = self._node.GetSegmentation() if self._node else None
        count = segmentation.GetNumberOfSegments() if segmentation else 0
        self._table.setRowCount(count)
        for row in range(count):
            segment_id = segmentation.GetNthSegmentID(row)
            segment = segmentation.GetSegment(segment_id)
            colour = QtWidgets.QTableWidgetItem()
            colour.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            name = QtWidgets.QTableWidgetItem(segment.GetName())
            name.setData(QtCore.Qt.ItemDataRole.UserRole, segment_id)
            self._table.setItem(row, 0, colour)
            self._table.setItem(row, 1, name)
        self._table.blockSignals(False)
        self.setSelectedSegmentIDs(selected if self._node else [])


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Slicer's editor for hand edits: here its real logic (undo, masking, overwrite mode) without its buttons."""

    maximumNumberOfUndoStates = _stored("maximumNumberOfUndoStates", int)
    segmentationNodeSelectorVisible = _stored("segmentationNodeSelectorVisible", bool)
    sourceVolumeNodeSelectorVisible = _stored("sourceVolumeNodeSelectorVisible", bool)
    switchToSegmentationsButtonVisible = _stored("switchToSegmentationsButtonVisible", bool)
    autoShowSourceVolumeNode = _stored("autoShowSourceVolumeNode", bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._values = {
            "maximumNumberOfUndoStates": 10,
            "segmentationNodeSelectorVisible": True,
            "sourceVolumeNodeSelectorVisible": True,
            "switchToSegmentationsButtonVisible": True,
            "autoShowSourceVolumeNode": True,
        }
        layout = QtWidgets.QHBoxLayout(self)
        label = QtWidgets.QLabel("Segment Editor (Slicer shows its effects here)")
        label.setStyleSheet("color: #777; border: 1px dashed #aaa; padding: 18px")
        layout.addWidget(label)

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        super().setMRMLScene(scene)
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(scene)

    def setMRMLSegmentEditorNode(self, node: slicer.vtkMRMLSegmentEditorNode | None) -> None:
        self._logic.SetSegmentEditorNode(node)

    def mrmlSegmentEditorNode(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        return self._logic.GetSegmentEditorNode()

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        if self._logic.GetSegmentEditorNode() is not None:
            self._logic.SetSegmentationNode(node)

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self._logic.GetSegmentationNode()

    def setSourceVolumeNode(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        if self._logic.GetSegmentEditorNode() is not None:
            self._logic.SetSourceVolumeNode(node)

    def sourceVolumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return self._logic.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._logic.GetSegmentEditorNode().SetSelectedSegmentID(segment_id)

    def currentSegmentID(self) -> str:
        return self._logic.GetSegmentEditorNode().GetSelectedSegmentID() or ""

    def setActiveEffectByName(self, name: str) -> None:
        self._logic.GetSegmentEditorNode().SetActiveEffectName(name)

    def saveStateForUndo(self) -> None:
        self._logic.SetMaximumNumberOfUndoStates(self._values["maximumNumberOfUndoStates"])
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def setupViewObservations(self) -> None:
        self._observing = True

    def removeViewObservations(self) -> None:
        self._observing = False


WIDGETS: dict[str, type[QtWidgets.QWidget]] = {
    cls.__name__: cls for cls in (qMRMLWidget, qMRMLNodeComboBox, qMRMLSegmentsTableView, qMRMLSegmentEditorWidget)
}
