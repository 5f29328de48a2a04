"""What of the module's state belongs to the scene and is shown in widgets."""

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class ModuleState:
    """Saved with the scene; Slicer's own wrapper gives types, defaults and change events.

    Attributes:
        volume: the image to segment.
        segmentation: where accepted masks go.
        segment: id of the selected segment, or empty.
        model: id of a model of the catalogue.
        window: name of an intensity window, or LEVEL/WIDTH.
    """

    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segment: str = ""
    model: str = "samfinetune_default"
    window: str = "auto"
