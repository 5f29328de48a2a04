"""The ctk widgets that the module uses, with the properties and signals that it uses, and no others."""

import PySide6.QtCore as QtCore
import PySide6.QtWidgets as QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.file_dialog import QFileDialog

_FILES, _ALL_ENTRIES = 0x0002, 0x0007  # the numbers of QDir::Filter


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A titled section that folds."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._header = QtWidgets.QToolButton(self)
        self._header.setObjectName("qt_collapsible_header")
        self._header.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._header.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._header.setStyleSheet("QToolButton { border: none; background: #d8dde3; font-weight: bold; padding: 3px }")
        self._header.clicked.connect(lambda: self._set_collapsed(not self._collapsed))
        self._collapsed = False
        self.setContentsMargins(0, 26, 0, 0)
        self._show()

    def resizeEvent(self, _: object) -> None:
        self._header.setGeometry(0, 0, self.width(), 24)

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(200, 26) if self._collapsed else super().sizeHint()

    def minimumSizeHint(self) -> QtCore.QSize:
        return self.sizeHint() if self._collapsed else super().minimumSizeHint()

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        super().childEvent(event)
        if event.added() and getattr(self, "_collapsed", False):
            QtCore.QTimer.singleShot(0, self, self._show)  # not if it is deleted before

    def _get_text(self) -> str:
        return self._header.text()

    def _set_text(self, text: str) -> None:
        self._header.setText(text)

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        changed, self._collapsed = collapsed != self._collapsed, collapsed
        self._show()
        if changed:
            self.contentsCollapsed.emit(collapsed)

    def _show(self) -> None:
        arrow = QtCore.Qt.ArrowType.RightArrow if self._collapsed else QtCore.Qt.ArrowType.DownArrow
        self._header.setArrowType(arrow)
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            if child is not self._header and not child.isWindow():
                child.setVisible(not self._collapsed)
        self.setMaximumHeight(26 if self._collapsed else 16777215)
        self.updateGeometry()

    text = Property(str, _get_text, _set_text)
    collapsed = Property(bool, _get_collapsed, _set_collapsed)


class ctkMessageBox(QtWidgets.QMessageBox):
    """The box of ``slicer.util.messageBox``; never shown: the host runs in testing mode."""


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path to type or to choose."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QLineEdit()
        self._valid = False
        self._edit.textChanged.connect(self._on_text)
        layout.addWidget(self._edit)
        button = QtWidgets.QToolButton()
        button.setObjectName("qt_browse")
        button.clicked.connect(self._browse)
        layout.addWidget(button)
        self._key = ""
        self._filters = _ALL_ENTRIES

    def _on_text(self, text: str) -> None:
        """As ctk does: an empty path is not valid, and then no change of the path is reported."""
        if bool(text) != self._valid:
            self._valid = bool(text)
            self.validInputChanged.emit(self._valid)
        if text:
            self.currentPathChanged.emit(text)

    def _get_path(self) -> str:
        return self._edit.text()

    def _set_path(self, path: str) -> None:
        self._edit.setText(path)

    def _get_key(self) -> str:
        return self._key

    def _set_key(self, key: str) -> None:
        self._key = key

    def _get_filters(self) -> int:
        return self._filters

    def _set_filters(self, filters: int) -> None:
        self._filters = filters

    def _browse(self) -> None:
        """As ctk does: a dialog for files, unless they are filtered out."""
        if self._filters & _FILES:
            raise AssertionError(f"{self.objectName()} would let the user choose a file; the module has folders only.")
        chosen = QFileDialog.getExistingDirectory(self, "Select a directory...", self._get_path())
        if chosen:
            self._set_path(chosen)

    filters = Property(int, _get_filters, _set_filters)
    currentPath = Property(str, _get_path, _set_path)
    settingKey = Property(str, _get_key, _set_key)


ctkPathLineEdit.Dirs = 0x0001
WIDGETS = {cls.__name__: cls for cls in (ctkCollapsibleButton, ctkPathLineEdit, ctkMessageBox)}
