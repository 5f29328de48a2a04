"""The mask that would be written, shown in the slice views before it is accepted."""

from typing import Any

import numpy as np
import slicer

from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.images import oriented_image
from SAMFinetuneLogic.mrml.lattice import Block
from SAMFinetuneLogic.mrml.rendering import paused_rendering

SEGMENT = "preview"
"""The ID of the segment that holds what is shown."""

_FILL_OPACITY = 0.35


class Preview:
    """One mask on one slice, in a segmentation node of its own that is hidden from lists and never saved.

    Args:
        scene: where it is shown.
        volume: gives the grid, in world RAS.
        name: of the node.
    """

    def __init__(self, scene: Any, volume: Volume, name: str = "SAMFinetune preview") -> None:
        self._volume = volume
        self.node = slicer.vtkMRMLSegmentationNode()
        self.node.SetName(name)
        self.node.SetHideFromEditors(True)
        self.node.SetSaveWithScene(False)
        scene.AddNode(self.node)
        self.node.CreateDefaultDisplayNodes()
        display = self.node.GetDisplayNode()
        if display is not None:
            display.SetSaveWithScene(False)
            display.SetOpacity2DFill(_FILL_OPACITY)
            display.SetVisibility3D(False)
        self.node.GetSegmentation().AddEmptySegment(SEGMENT, "Preview")

    def show(self, slice_index: SliceIndex, mask: np.ndarray, color: tuple[float, float, float]) -> None:
        """Show ``mask`` (rows, cols) on a slice, in place of what was shown before."""
        start = np.zeros(3, dtype=np.int64)
        start[2 - array_axis(slice_index.axis)] = slice_index.index
        block = Block(np.expand_dims(np.asarray(mask) != 0, array_axis(slice_index.axis)), start).cropped()
        if not block.voxels.size:
            self.clear()
            return
        image = oriented_image(block.voxels, self._volume.ijk_to_ras, block.start)
        segment = self.node.GetSegmentation().GetSegment(SEGMENT)
        name = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
        with paused_rendering():
            segment.SetColor(*color)
            segment.SetLabelValue(1)
            segment.AddRepresentation(name, image)
            self.node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)
            self.node.Modified()

    def clear(self) -> None:
        """Show nothing."""
        segment = self.node.GetSegmentation().GetSegment(SEGMENT)
        segment.RemoveAllRepresentations()
        self.node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)
        self.node.Modified()

    def remove(self) -> None:
        """Take it out of the scene, for good, with the node that says how it is shown."""
        scene, display = self.node.GetScene(), self.node.GetDisplayNode()
        if scene is not None:
            scene.RemoveNode(self.node)
            if display is not None:
                scene.RemoveNode(display)
