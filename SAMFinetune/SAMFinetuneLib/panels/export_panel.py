"""Export: files for other programs."""

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from SAMFinetuneLib.exporting import FORMATS, Exported, export
from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.workbench import Workbench


class ExportPanel(Panel):
    """Writes the segmentation."""

    def __init__(self, bench: Workbench, layout: Any, resources: Path) -> None:
        super().__init__(bench, layout, resources, "ExportPanel")
        for value, text in FORMATS.items():
            self.ui.formatSelector.addItem(_(text), value)
        self.ui.exportFolder.currentPath = str(bench.preferences.export_folder)
        self.on_click(self.ui.exportButton, self.export)
        bench.changed.connect(self.update)
        self.update()

    def export(self) -> Exported:
        """Write what is chosen."""
        self.ui.exportResult.text = ""
        folder = Path(self.ui.exportFolder.currentPath)
        self.bench.writing.finish()
        written = export(
            self.bench.prompter.work,
            folder,
            self.ui.exportName.text,
            self.ui.formatSelector.currentData,
            self.ui.exportOverwrite.checked,
            self.bench.state.model,
        )
        self.bench.preferences.export_folder = folder
        names = ", ".join(path.name for path in written.paths)
        self.ui.exportResult.text = _("Written to {folder}: {names}").format(folder=folder, names=names)
        if written.notice:
            self.messages.show_notice(written.notice)
        return written

    def update(self) -> None:
        """The button works once there is a volume."""
        self.ui.exportButton.enabled = self.bench.work is not None
