"""Learn: the few-shot collection, from adding slices to applying it to volumes."""

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SAMFinetuneLib.collection import SUFFIX
from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.thumbnails import thumbnail
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.worker.answers import CollectionInfo

_NODE_ID = 32  # qt.Qt.UserRole


class CollectionPanel(Panel, VTKObservationMixin):
    """Shows the collection and the volumes that it can be applied to."""

    def __init__(self, bench: Workbench, layout: Any, resources: Path) -> None:
        VTKObservationMixin.__init__(self)
        Panel.__init__(self, bench, layout, resources, "CollectionPanel")
        self._shown: CollectionInfo | None = None
        self._shown_volumes: tuple[tuple[str, str], ...] = ()
        self._shown_adapters: tuple[Path, ...] | None = None
        self._listed_for = ""
        ui, collection = self.ui, bench.collection
        self.on_click(ui.collectionAddButton, self.add)
        self.on_click(ui.collectionRemoveButton, self.remove)
        self.on_click(ui.collectionImportButton, self.import_file)
        self.on_click(ui.collectionExportButton, self.export_file)
        self.on_click(ui.collectionNewButton, collection.clear)
        self.on_click(ui.collectionFitButton, collection.fit)
        self.on_click(ui.collectionEncodeButton, collection.encode_again)
        self.on_click(ui.applyOpenButton, lambda: bench.applying.start(adapter=self.adapter()))
        self.on_click(ui.applyTickedButton, lambda: bench.applying.start(self.ticked(), self.adapter()))
        ui.applySelector.connect("currentIndexChanged(int)", lambda _index: self.update())
        self.on_click(ui.collectionCancelButton, collection.cancel)
        collection.long.changed.connect(self.update)
        collection.long.failed.connect(self.messages.show_error)
        bench.changed.connect(self.update)
        bench.learning.changed.connect(self._on_learning)
        self._timer = make_timer(self._show_volumes, 50, once=True)
        self._on_learning()

    def set_scene(self, scene: Any) -> None:
        """List the volumes of a scene."""
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._on_nodes)
        self._show_volumes()

    def close(self) -> None:
        """Let go of the scene."""
        self._timer.stop()
        self.removeObservers()

    def add(self) -> None:
        """Add the annotated slices."""
        self.bench.collect_hand_edits()
        self.bench.collection.add_annotated()

    def remove(self) -> None:
        """Remove the selected slices.

        Raises:
            InputError: none is selected.
        """
        info, entries = self.bench.collection.info, self.ui.collectionList
        chosen = [n for n in range(entries.count) if entries.item(n).isSelected()]
        if info is None or not chosen:
            raise InputError("Select slices in the list first.")
        self.bench.collection.remove([info.entries[n].identity for n in chosen])

    def import_file(self) -> None:
        """Ask for a file and take it in."""
        title, filters = _("Import a few-shot collection"), self._filters()
        chosen = qt.QFileDialog.getOpenFileName(self.widget, title, self._folder(), filters)
        if chosen:
            self._remember_folder(chosen)
            self.bench.collection.import_from(Path(chosen))

    def export_file(self) -> None:
        """Ask for a place and copy the collection there."""
        title, filters = _("Export the few-shot collection"), self._filters()
        chosen = qt.QFileDialog.getSaveFileName(self.widget, title, f"{self._folder()}/collection{SUFFIX}", filters)
        if chosen:
            self._remember_folder(chosen)
            self.bench.collection.export_to(Path(chosen))

    def ticked(self) -> list[Any]:
        """The chosen volumes."""
        entries = self.ui.volumeList
        items = [entries.item(n) for n in range(entries.count)]
        ids = [item.data(_NODE_ID) for item in items if item.checkState() == qt.Qt.Checked]
        return [node for node in map(slicer.mrmlScene.GetNodeByID, ids) if node is not None]

    def adapter(self) -> Path | None:
        """The folder of the adapter that is to be applied; None for the collection."""
        chosen = self.ui.applySelector.currentData
        return Path(chosen) if chosen else None

    def update(self) -> None:
        """Show the collection and what goes on."""
        if self.bench.learning.model != self._listed_for:
            self._list_adapters()
        collection, ui = self.bench.collection, self.ui
        long, has_work = collection.long, self.bench.work is not None
        idle = not long.running
        some = collection.path is not None
        if collection.info is not self._shown:
            self._show_entries(collection.info)
        ui.collectionList.visible = collection.info is not None and bool(collection.info.entries)
        ui.collectionState.text = self._state()
        ui.collectionAddButton.enabled = has_work and idle
        ui.collectionImportButton.enabled = idle
        for button in (
            ui.collectionRemoveButton,
            ui.collectionExportButton,
            ui.collectionNewButton,
            ui.collectionFitButton,
            ui.collectionEncodeButton,
        ):
            button.enabled = some and idle
        can_apply = idle and (collection.fitted or self.adapter() is not None)
        ui.applyOpenButton.enabled = has_work and can_apply
        ui.applyTickedButton.enabled = can_apply
        ui.collectionCancelButton.enabled = not idle
        ui.collectionBar.visible = not idle
        ui.collectionBar.maximum = long.total
        ui.collectionBar.value = long.done
        ui.collectionSummary.text = self._doing() or collection.summary
        self._show_volumes()

    def _doing(self) -> str:
        long = self.bench.collection.long
        if not long.doing:
            return ""
        if not long.total:
            return f"{long.doing} ..."
        return _("{doing} ... {done} of {total}").format(doing=long.doing, done=long.done, total=long.total)

    def _state(self) -> str:
        collection = self.bench.collection
        info = collection.info
        if info is None:
            if collection.path is not None:
                return _("Opening {name} ...").format(name=collection.path.name)
            return _(
                "No collection yet. A few labelled slices teach the model a structure, for this and other volumes."
            )
        text = _("Slices: {slices}. Images: {images}. Structures: {classes}.").format(
            slices=len(info.entries),
            images=len({entry.image for entry in info.entries}),
            classes=", ".join(segment.name for segment in info.classes) or _("nothing"),
        )
        if info.fit is None:
            return text + " " + _("Not learned yet.")
        if collection.unlearned:
            return text + " " + _("{count} of them are not learned yet.").format(count=collection.unlearned)
        return text + " " + _("Ready to be applied.")

    def _show_entries(self, info: CollectionInfo | None) -> None:
        self._shown = info
        entries = self.ui.collectionList
        entries.clear()
        for entry in info.entries if info is not None else ():
            entries.addItem(entry.title)  # not an item made here: who owns it differs between releases of PythonQt
            item = entries.item(entries.count - 1)
            item.setIcon(qt.QIcon(thumbnail(entry, info.classes)))
            names = [segment.name for segment in info.classes if (entry.labels == segment.value).any()]
            item.setToolTip(", ".join(names) or _("Nothing is there: a negative example"))

    def _on_learning(self) -> None:
        self._list_adapters()
        self.update()

    def _list_adapters(self) -> None:
        """Not at each turn to another slice: the jobs lie on the disk."""
        learning, selector = self.bench.learning, self.ui.applySelector
        if learning.running and self._shown_adapters is not None:
            return
        self._listed_for = learning.model
        jobs = [] if learning.running else learning.finished("automatic")
        adapters = tuple(job.adapter for job in jobs)
        if adapters == self._shown_adapters:
            return
        chosen, self._shown_adapters = selector.currentData, adapters
        selector.blockSignals(True)
        selector.clear()
        selector.addItem(_("The collection"), "")
        for job in jobs:
            selector.addItem(_("Adapter {name}").format(name=learning.jobs.title(job)), str(job.adapter))
        selector.setCurrentIndex(max(selector.findData(chosen or ""), 0))
        selector.blockSignals(False)

    def _on_nodes(self, *_arguments: Any) -> None:
        self._timer.start()

    def _show_volumes(self) -> None:
        volumes = tuple(
            (node.GetID(), node.GetName())
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if not node.GetHideFromEditors() and not node.IsA("vtkMRMLLabelMapVolumeNode")
        )
        if volumes == self._shown_volumes:
            return
        kept = {node.GetID() for node in self.ticked()}
        self._shown_volumes = volumes
        self.ui.volumeList.clear()
        for node_id, name in volumes:
            self.ui.volumeList.addItem(name)
            item = self.ui.volumeList.item(self.ui.volumeList.count - 1)
            item.setData(_NODE_ID, node_id)
            item.setCheckState(qt.Qt.Checked if node_id in kept else qt.Qt.Unchecked)

    def _filters(self) -> str:
        return _("Few-shot collections") + f" (*{SUFFIX})"

    def _folder(self) -> str:
        return str(self.bench.preferences.export_folder)

    def _remember_folder(self, chosen: str) -> None:
        self.bench.preferences.export_folder = Path(chosen).parent
