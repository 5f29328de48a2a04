"""Notices that Slicer is about to save, so that the scene is complete by then."""

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin


class SaveWatch(VTKObservationMixin):
    """Follows a scene's storage nodes: each is made, or given its file's name, right before its data are written.

    Slicer announces a save on some of its ways only, and a scene bundle (``.mrb``) to nobody.

    Args:
        about_to_save: called then; also at other changes of storage nodes, such as after data were loaded.
    """

    def __init__(self, about_to_save: Callable[[], None]) -> None:
        super().__init__()
        self._about_to_save = about_to_save
        self._busy = False

    def follow(self, scene: Any) -> None:
        """Watch a scene, in place of the one before."""
        self.removeObservers()
        self.addObserver(scene, scene.StartSaveEvent, self._on_change)
        self.addObserver(scene, scene.NodeAddedEvent, self._on_added)
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLStorageNode")):
            self._watch(scene.GetNthNodeByClass(number, "vtkMRMLStorageNode"))

    def stop(self) -> None:
        """Watch nothing any more."""
        self.removeObservers()

    def _watch(self, storage: Any) -> None:
        self.addObserver(storage, vtk.vtkCommand.ModifiedEvent, self._on_change)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, _caller: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLStorageNode"):
            self._watch(node)
            self._on_change()

    def _on_change(self, *_arguments: Any) -> None:
        # Not while a scene is loaded or closed; and what is done here may change storage nodes itself.
        if not self._busy and not slicer.mrmlScene.IsBatchProcessing():
            self._busy = True
            try:
                self._about_to_save()
            finally:
                self._busy = False
