"""Input: volume, segmentation, segments, model, device, window, settings."""

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SAMFinetuneLib.download import ModelDownload
from SAMFinetuneLib.log_memory import LogMemory
from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.work import new_segmentation
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.imaging.windows import WINDOW_NAMES
from SAMFinetuneLogic.models.catalogue import load_catalogue
from SAMFinetuneLogic.models.store import ModelStore

DEVICES = ("auto", "cpu", "cuda", "mps")


class InputPanel(Panel):
    """What to work on, and with which model.

    Attributes:
        importing: while a scene is read, the selectors lose their nodes for a moment, which means nothing.
    """

    def __init__(self, bench: Workbench, layout: Any, resources: Path, log: LogMemory) -> None:
        super().__init__(bench, layout, resources, "InputPanel")
        self._log = log
        self._updating = False
        self.importing = False
        self._noticed: Any = None
        self.download = ModelDownload()
        self._fill()
        self._connect()
        self.update()

    def set_scene(self, scene: Any) -> None:
        """Let the selectors show the nodes of a scene."""
        self._updating = True
        for widget in (self.ui.volumeSelector, self.ui.segmentationSelector, self.ui.segmentsTable):
            widget.setMRMLScene(scene)
        self._updating = False
        self.update()

    def try_it(self) -> None:
        """Load the phantom, click once, show the answer."""
        from SAMFinetuneLib.try_it import try_it  # brings scipy, too slow for opening the module

        try_it(self.bench)

    def copy_log(self) -> None:
        """Put the log of the module and of the model's process on the clipboard."""
        texts = (self._log.text(), self.bench.inference.log_text())
        qt.QApplication.clipboard().setText("\n".join(text for text in texts if text))

    def close(self) -> None:
        """Stop a download."""
        self.download.cancel()

    def update(self) -> None:
        """Show what the workbench holds."""
        if self._updating:
            return
        self._updating = True
        try:
            self._update()
        finally:
            self._updating = False

    def _fill(self) -> None:
        for entry in load_catalogue().values():
            if not entry.encoder_only:
                self.ui.modelSelector.addItem(entry.title, entry.id)
        for device in DEVICES:
            self.ui.deviceSelector.addItem(device, device)
        for name in WINDOW_NAMES:
            self.ui.windowSelector.addItem(name)
        preferences = self.bench.preferences
        for folder in (self.ui.modelFolder, self.ui.jobFolder):
            folder.filters = ctk.ctkPathLineEdit.Dirs  # its button asks for a file otherwise
        self.ui.deviceSelector.setCurrentIndex(max(self.ui.deviceSelector.findData(preferences.device), 0))
        self.ui.modelFolder.currentPath = str(preferences.model_folder or "")
        self.ui.jobFolder.currentPath = str(preferences.job_folder)
        self.ui.cacheLimit.value = preferences.cache_limit_mb

    def _connect(self) -> None:
        ui = self.ui
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_volume)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_segmentation)
        ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self._on_segment)
        ui.modelSelector.connect("currentIndexChanged(int)", self._on_model)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._on_device)
        ui.windowSelector.connect("currentIndexChanged(int)", lambda _index: self._on_window())
        ui.windowSelector.lineEdit().connect("editingFinished()", self._on_window)
        ui.modelFolder.connect("currentPathChanged(QString)", self._on_model_folder)
        # No path at all is not valid to ctk, and not reported as a change.
        ui.modelFolder.connect("validInputChanged(bool)", lambda valid: valid or self._on_model_folder(""))
        ui.jobFolder.connect("currentPathChanged(QString)", self._on_job_folder)
        ui.cacheLimit.connect("valueChanged(int)", self._on_cache_limit)
        self.on_click(ui.tryButton, self.try_it)
        self.on_click(ui.addSegmentButton, self.bench.add_segment)
        self.on_click(ui.removeSegmentButton, self.bench.remove_segment)
        self.on_click(ui.downloadButton, self._start_download)
        self.on_click(ui.downloadCancelButton, self.download.cancel)
        self.on_click(ui.clearCacheButton, self.bench.inference.forget)
        self.on_click(ui.copyLogButton, self.copy_log)
        self.bench.changed.connect(self.update)
        self.bench.inference.changed.connect(self._show_device)
        self.bench.inference.noticed.connect(self.messages.show_notice)
        self.bench.problem.connect(self.messages.show_error)
        self.download.changed.connect(self._on_download)

    def _update(self) -> None:
        state, work = self.bench.state, self.bench.work
        self.ui.volumeSelector.setCurrentNode(state.volume if state else None)
        self.ui.segmentationSelector.setCurrentNode(state.segmentation if state else None)
        self.ui.segmentsTable.setSegmentationNode(work.segmentation_node if work else None)
        if state is not None:
            selected = self.ui.segmentsTable.selectedSegmentIDs()
            if work is not None and state.segment and state.segment not in selected:
                self.ui.segmentsTable.setSelectedSegmentIDs([state.segment])
            self.ui.modelSelector.setCurrentIndex(self.ui.modelSelector.findData(state.model))
            if self.ui.windowSelector.currentText != state.window:
                self.ui.windowSelector.setEditText(state.window)
        self.ui.addSegmentButton.enabled = work is not None
        self.ui.removeSegmentButton.enabled = work is not None and bool(state and state.segment)
        noticed = None if work is None else (work.volume_node.GetID(), work.segmentation_node.GetID(), work.notices)
        if noticed != self._noticed:  # once, not for each frame: the user may close it, and errors take its place
            self._noticed = noticed
            if work is not None and work.notices:
                self.messages.show_notice(" ".join(work.notices))
        self._show_model()
        self._show_device()

    def _show_model(self) -> None:
        entry = load_catalogue().get(self.ui.modelSelector.currentData)
        if entry is None:
            return
        stored = ModelStore(by_hand=self.bench.preferences.model_folder).locate(entry.id)
        size = f", {entry.bytes / 1e6:.0f} MB" if entry.bytes else ""
        lines = [_("Licence: {licence}{size}").format(licence=entry.licence, size=size)]
        if entry.non_commercial:
            lines.append(_("Not for commercial use, unless the authors permit it."))
        if stored.path is None and entry.import_only:
            lines.append(
                _("Get the file from {source} and put it into the offline folder.").format(source=entry.source)
            )
        self.ui.modelInfo.text = "\n".join(lines)
        self.ui.modelInfo.toolTip = entry.licence_text()
        missing = stored.path is None and not entry.import_only
        self.ui.downloadRow.visible = missing or self.download.running
        self.ui.downloadButton.visible = not self.download.running
        self.ui.downloadProgress.visible = self.download.running
        self.ui.downloadCancelButton.visible = self.download.running

    def _show_device(self) -> None:
        self.ui.deviceState.text = self.bench.inference.status

    def _on_volume(self, node: Any) -> None:
        if self._updating or self.importing or self.bench.state is None or node is self.bench.state.volume:
            return
        self.messages.clear()
        self.bench.choose(node)
        if node is not None:
            slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)

    def _on_segmentation(self, node: Any) -> None:
        state = self.bench.state
        if self._updating or self.importing or state is None or node is state.segmentation:
            return
        self.messages.clear()
        wants_another = state.segmentation is not None and state.segmentation.GetScene() is not None
        if node is None and wants_another and state.volume is not None:
            node = self.run(lambda: new_segmentation(state.volume))
        state.segmentation = node
        self.bench.update()

    def _on_segment(self, *_selection: Any) -> None:
        selected = self.ui.segmentsTable.selectedSegmentIDs()
        if not self._updating and selected and self.bench.state is not None and selected[0] != self.bench.state.segment:
            self.run(lambda: self.bench.select_segment(selected[0]))

    def _on_model(self, _index: int) -> None:
        chosen = self.ui.modelSelector.currentData
        if not self._updating and self.bench.state is not None and chosen != self.bench.state.model:
            self._show_model()
            self.run(lambda: self.bench.set_model(chosen))

    def _on_device(self, _index: int) -> None:
        self.bench.preferences.device = self.ui.deviceSelector.currentData
        self.run(self.bench.reload_model)

    def _on_window(self) -> None:
        text = self.ui.windowSelector.currentText.strip()
        if not self._updating and text and self.bench.state is not None and text != self.bench.state.window:
            self.run(lambda: self.bench.set_window(text))

    def _on_model_folder(self, text: str) -> None:
        self.bench.preferences.model_folder = Path(text) if text else None
        self._show_model()
        self.run(self.bench.reload_model)

    def _on_job_folder(self, text: str) -> None:
        if text:
            self.bench.preferences.job_folder = Path(text)

    def _on_cache_limit(self, value: int) -> None:
        self.bench.preferences.cache_limit_mb = value

    def _start_download(self) -> None:
        entry = load_catalogue()[self.ui.modelSelector.currentData]
        question = _("{licence}\n\nFetch this file now?").format(licence=entry.licence_text())
        if slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Licence of the model")):
            self.download.start(entry.id)

    def _on_download(self) -> None:
        self.ui.downloadProgress.value = self.download.percent
        self._show_model()
        if self.download.error is not None:
            self.messages.show_error(self.download.error)
        elif not self.download.running and self.download.percent == 100:
            self.run(self.bench.reload_model)
