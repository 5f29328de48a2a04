"""Export: files for other programs."""

from pathlib import Path
from typing import Any

import ctk
from slicer.i18n import tr as _

from SAMFinetuneLib.export_plan import FORMATS, Exported
from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.workbench import Workbench


class ExportPanel(Panel):
    """Writes the segmentation."""

    def __init__(self, bench: Workbench, layout: Any, resources: Path) -> None:
        super().__init__(bench, layout, resources, "ExportPanel")
        self._shown: Exported | None = None
        for value, text in FORMATS.items():
            self.ui.formatSelector.addItem(_(text), value)
        self.ui.exportFolder.filters = ctk.ctkPathLineEdit.Dirs  # its button asks for a file otherwise
        self.ui.exportFolder.currentPath = str(bench.preferences.export_folder)
        self.on_click(self.ui.exportButton, self.export)
        self.on_click(self.ui.exportCancelButton, bench.exporting.cancel)
        bench.exporting.changed.connect(self.update)
        bench.exporting.failed.connect(self.messages.show_error)
        bench.changed.connect(self.update)
        self.update()

    def export(self) -> None:
        """Write what is chosen."""
        self.ui.exportResult.text = ""
        folder = Path(self.ui.exportFolder.currentPath)
        kind, overwrite = self.ui.formatSelector.currentData, self.ui.exportOverwrite.checked
        self.bench.exporting.start(folder, self.ui.exportName.text, kind, overwrite)
        self.bench.preferences.export_folder = folder

    def update(self) -> None:
        """Show where the export stands; the button works once there is a volume."""
        exporting = self.bench.exporting
        self.ui.exportButton.enabled = self.bench.work is not None and not exporting.running
        self.ui.exportCancelButton.enabled = exporting.running
        self.ui.exportProgress.visible = exporting.running
        self.ui.exportProgress.maximum = exporting.total
        self.ui.exportProgress.value = exporting.done
        if self.bench.work is None and not exporting.running and exporting.result is None:
            self.ui.exportResult.text = _("Choose a volume first.")
        elif self.ui.exportResult.text == _("Choose a volume first."):
            self.ui.exportResult.text = ""
        if exporting.result is not self._shown:
            self._shown = exporting.result
            if exporting.result is not None:
                self._show(exporting.result)

    def _show(self, written: Exported) -> None:
        folder, names = written.paths[0].parent, ", ".join(path.name for path in written.paths)
        self.ui.exportResult.text = _("Written to {folder}: {names}").format(folder=folder, names=names)
        if written.notice:
            self.messages.show_notice(written.notice)
