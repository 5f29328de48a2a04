"""Real MRML scenes: what Slicer's application sets up, as far as scenes, segments and markups need it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LOGICS = (
    "vtkSlicerSegmentationsModuleLogic",
    "vtkSlicerMarkupsLogic",
    "vtkSlicerVolumesLogic",
    "vtkSlicerSequencesLogic",
    "vtkSlicerSubjectHierarchyModuleLogic",
    "vtkSlicerTransformLogic",
)


@pytest.fixture
def new_scene(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Makes scenes in which nodes of all kinds can be added, saved and read."""
    import slicer

    alive: list[Any] = []

    def make() -> Any:
        folder = str(tmp_path_factory.mktemp("scene"))
        scene = slicer.vtkMRMLScene()
        application = slicer.vtkSlicerApplicationLogic()
        application.SetMRMLScene(scene)
        application.SetTemporaryPath(folder)
        files = slicer.vtkCacheManager()
        files.SetMRMLScene(scene)
        files.SetRemoteCacheDirectory(folder)
        scene.SetCacheManager(files)
        transfers = slicer.vtkDataIOManager()
        transfers.SetCacheManager(files)
        scene.SetDataIOManager(transfers)
        alive.extend((scene, application, files, transfers))
        for name in LOGICS:
            logic = getattr(slicer, name)()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(scene)
            alive.append(logic)
        return scene

    return make


@pytest.fixture
def a_scene(new_scene):
    return new_scene()


@pytest.fixture
def reopened(new_scene, tmp_path: Path) -> Callable[[Any], Any]:
    """Saves a scene as .mrb and opens it as another scene."""

    def save_and_open(scene: Any) -> Any:
        path = tmp_path / f"scene-{len(list(tmp_path.iterdir()))}.mrb"
        assert scene.WriteToMRB(str(path))
        other = new_scene()
        assert other.ReadFromMRB(str(path))
        return other

    return save_and_open


@pytest.fixture
def a_volume_node(a_scene):
    """Turned, anisotropic, a little sheared, left-handed; (6, 8, 10) voxels of values 0 to 99."""
    matrix = np.array([[0, 0.3, 2.0, 5], [1.5, 0, 0, -3], [0.1, -1, 0, 7], [0, 0, 0, 1]])
    return make_volume(a_scene, np.random.default_rng(0).integers(0, 100, (6, 8, 10)).astype(np.int16), matrix)


@pytest.fixture
def add_volume_node() -> Callable[..., Any]:
    return make_volume


@pytest.fixture
def add_linear_transform() -> Callable[..., Any]:
    return make_linear_transform


@pytest.fixture
def add_bend() -> Callable[..., Any]:
    return make_bend


def make_volume(scene: Any, voxels: np.ndarray, matrix: np.ndarray, name: str = "scan") -> Any:
    import slicer

    color = voxels.ndim == 4
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode" if color else "vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, voxels)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def make_linear_transform(scene: Any, matrix: np.ndarray, parent: Any = None) -> Any:
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def make_bend(scene: Any, seed: int = 0, strength: float = 1.0, shift: tuple[float, float, float] = (0, 0, 0)) -> Any:
    """A thin-plate spline: landmarks around the origin that move by a few mm."""
    import vtk

    rng = np.random.default_rng(seed)
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for position in rng.uniform(-15, 25, (8, 3)):
        source.InsertNextPoint(*position)
        target.InsertNextPoint(*(position + np.array(shift) + rng.normal(0, strength, 3)))
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bent")
    node.SetAndObserveTransformToParent(spline)
    return node
