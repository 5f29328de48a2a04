"""Volume nodes to :class:`SAMFinetuneLogic.imaging.volume.Volume` and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.geometry import transform_points
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.images import fill_image, has_voxels, image_array, image_start
from SAMFinetuneLogic.mrml.matrices import ijk_to_world, is_linear, own_ijk_to_ras, to_vtk
from SAMFinetuneLogic.mrml.nonlinear import resample_to_world

_MODALITY = "DICOM.Modality"
_HOUNSFIELD = "[hnsf'U]"


@dataclass(frozen=True, eq=False)
class SceneVolume:
    """A volume node as the rest of the package sees it.

    Attributes:
        volume: in world RAS. Its voxels share memory with the node wherever no resampling was needed.
        resampled: whether a non-linear transform made a new grid necessary.
        frame: for the proxy of a sequence, the number of the frame shown; else None.
        notices: sentences for the user.
    """

    volume: Volume
    resampled: bool
    frame: int | None
    notices: tuple[str, ...]


def read_volume(node: Any) -> SceneVolume:
    """Read a scalar, label map or vector volume node.

    Linear parent transforms, sheared ones too, become part of the matrix. Under a non-linear one the volume is
    resampled, see :mod:`SAMFinetuneLogic.mrml.nonlinear`. Three or four components of 8 bits are a colour (the fourth,
    opacity, is left out); of others the first component is read, as the Segment Editor does.

    Raises:
        InputError: no node, or no voxels in it.
        GeometryError: its matrix or its transform cannot be used.
    """
    if node is None:
        raise InputError("There is no volume: choose one, or load one first.")
    if not node.IsA("vtkMRMLVolumeNode") or not has_voxels(node.GetImageData()):
        raise InputError(f"{node.GetName()} has no voxels: choose another volume, or load it again.")
    notices = []
    resampled = not is_linear(node)
    if resampled:
        voxels, matrix = resample_to_world(node, nearest=node.IsA("vtkMRMLLabelMapVolumeNode"))
        transform = node.GetParentTransformNode().GetName()
        notices.append(
            f"{node.GetName()} is under the non-linear transform {transform}: it was resampled to a regular grid, and "
            f"the segmentation lies on that grid."
        )
    else:
        voxels, matrix = image_array(node.GetImageData()), _matrix(node)
    voxels, notice = _one_or_color(voxels, node.GetName())
    notices += [notice] if notice else []
    volume = Volume(voxels, matrix, modality=modality_of(node), name=node.GetName() or "")
    return SceneVolume(volume, resampled, frame_of(node), tuple(notices))


def add_volume(scene: Any, volume: Volume, name: str | None = None) -> Any:
    """Add a volume to a scene, as a scalar volume node, or a vector volume node if it has colours.

    The voxels are copied. Types that VTK has not (booleans, half precision) become the next larger one.
    """
    kind = "vtkMRMLVectorVolumeNode" if volume.is_color else "vtkMRMLScalarVolumeNode"
    image = vtk.vtkImageData()
    image.SetDimensions(*volume.shape[::-1])
    fill_image(image, volume.voxels)
    node = scene.AddNewNodeByClass(kind, name or volume.name or "Volume")
    node.SetIJKToRASMatrix(to_vtk(volume.ijk_to_ras))
    if volume.is_color:
        node.SetVoxelVectorType(node.VoxelVectorTypeColorRGB)
    if volume.modality:
        node.SetAttribute(_MODALITY, volume.modality)
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    return node


def frame_of(node: Any) -> int | None:
    """The number of the frame that a sequence's proxy node shows; None for a node that is no proxy."""
    scene = node.GetScene()
    count = scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") if scene else 0
    for number in range(count):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        if browser.IsProxyNode(node.GetID()):
            return int(browser.GetSelectedItemNumber())
    return None


def geometry_key(node: Any) -> tuple[Any, ...]:
    """Changes when :func:`read_volume` would give something else: other voxels, another place, another frame."""
    image = node.GetImageData()
    voxels = (image.GetMTime(), image.GetPointData().GetMTime()) if has_voxels(image) else ()
    return node.GetID(), voxels, tuple(own_ijk_to_ras(node).ravel().tolist()), placement_key(node), frame_of(node)


def placement_key(node: Any) -> tuple[Any, ...]:
    """Changes when a node is put under another transform, or one above it changes."""
    parent, times = node.GetParentTransformNode(), []
    while parent is not None:
        times.append((parent.GetID(), parent.GetTransformToWorldMTime()))
        parent = parent.GetParentTransformNode()
    return tuple(times)


def modality_of(node: Any) -> str | None:
    """The DICOM modality that a node or its series states; CT for values in Hounsfield units; else None."""
    stated = node.GetAttribute(_MODALITY) or _series_attribute(node, _MODALITY)
    if stated:
        return str(stated)
    units = node.GetVoxelValueUnits() if hasattr(node, "GetVoxelValueUnits") else None
    return (
        "CT" if units is not None and _HOUNSFIELD in (units.GetCodeValue() or "", units.GetAsString() or "") else None
    )


def _series_attribute(node: Any, name: str) -> str:
    import slicer

    scene = node.GetScene()
    # Asking for the hierarchy makes one: a volume that is in no scene or in a bare one is left as it is.
    if scene is None or not scene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode"):
        return ""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    return str(hierarchy.GetItemAttribute(item, name) or "") if item else ""


def _matrix(node: Any) -> np.ndarray:
    """From the voxels of the array to world RAS: an image may begin at another index than 0."""
    matrix = ijk_to_world(node).copy()
    matrix[:3, 3] = transform_points(matrix, image_start(node.GetImageData())[None].astype(float))[0]
    return matrix


def _one_or_color(voxels: np.ndarray, name: str) -> tuple[np.ndarray, str | None]:
    if voxels.ndim == 3:
        return voxels, None
    components = voxels.shape[3]
    if components in (3, 4) and voxels.dtype == np.uint8:
        dropped = "the opacity" if components == 4 else None
        return voxels[..., :3], f"{name} has four components: {dropped} was left out." if dropped else None
    return voxels[..., 0], f"{name} has {components} components: only the first one is used."
