"""Tells the user what went wrong, where it went wrong, with what to do and a button that copies the details."""

import logging
import traceback

import qt
import slicer
from slicer.i18n import tr as _

from SAMFinetuneLib.signal import Signal
from SAMFinetuneLogic.errors import Cancelled, SAMFinetuneError
from SAMFinetuneLogic.mrml.names import without_names

_log = logging.getLogger(__name__)

_STYLES = {
    "error": "QFrame { background: #fde8e6; } QLabel { color: #8c1d18; }",
    "notice": "QFrame { background: #fff4df; } QLabel { color: #6b4a00; }",
}


class MessageBar:
    """A line that appears when there is something to say.

    Args:
        layout: where it goes, at the top.

    Attributes:
        shown: emitted when there is something to say: the section around it may be folded.
    """

    def __init__(self, layout: object) -> None:
        self.shown = Signal()
        self.frame = qt.QFrame()
        self.frame.name = "messageBar"
        self.label = qt.QLabel()
        self.label.name = "messageText"
        self.label.wordWrap = True
        self.copy_button = qt.QPushButton(_("Copy details"))
        self.copy_button.toolTip = _("Copies the message and what led to it, for a report")
        self.close_button = qt.QPushButton(_("Close"))
        row = qt.QHBoxLayout(self.frame)
        row.setContentsMargins(6, 3, 6, 3)
        row.addWidget(self.label, 1)
        row.addWidget(self.copy_button)
        row.addWidget(self.close_button)
        self.copy_button.connect("clicked()", self.copy)
        self.close_button.connect("clicked()", self.clear)
        layout.insertWidget(0, self.frame)
        self.details = ""
        self.clear()

    @property
    def text(self) -> str:
        """What is shown; empty for nothing."""
        return self.label.text if not self.frame.isHidden() else ""

    def show_error(self, error: BaseException) -> None:
        """Show an exception. One of ours says what to do; any other is a defect, and says where to look.

        The log and the details hold no names of the scene.
        """
        if isinstance(error, Cancelled):
            self.show_notice(str(error))
            return
        details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.details = without_names(details, slicer.mrmlScene)
        if isinstance(error, SAMFinetuneError):
            text = str(error)
        else:
            text = _("Something went wrong: {error}. Your segmentation is unchanged; copy the details for a report.")
            text = text.format(error=str(error) or type(error).__name__)
        _log.error("%s", self.details)
        self._show(text, "error")
        self.copy_button.visible = True

    def show_notice(self, text: str) -> None:
        """Show a sentence that is no error."""
        self.details = text
        self._show(text, "notice")
        self.copy_button.visible = False

    def clear(self) -> None:
        """Show nothing."""
        self.frame.visible = False
        self.label.text = ""

    def copy(self) -> None:
        """Put the details on the clipboard."""
        qt.QApplication.clipboard().setText(self.details)

    def _show(self, text: str, style: str) -> None:
        self.frame.setStyleSheet(_STYLES[style])
        self.label.text = text
        self.frame.visible = True
        self.shown.emit()
