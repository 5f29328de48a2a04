"""Volume nodes to Volume and back, against MRML's own transformation of points."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")
vtk = pytest.importorskip("vtk")

from SAMFinetuneLogic.errors import GeometryError, InputError  # noqa: E402
from SAMFinetuneLogic.imaging.volume import Volume  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import add_volume, frame_of, geometry_key, modality_of, read_volume  # noqa: E402

RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def affines(draw, decades: tuple[float, float] = (-1.5, 1.0)) -> np.ndarray:
    """Invertible: a random rotation or reflection, spacings over some decades, maybe a shear, and a shift."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * 10 ** rng.uniform(*decades, 3)
    if draw(st.booleans()):
        matrix[:3, :3] @= np.eye(3) + np.triu(rng.uniform(-0.4, 0.4, (3, 3)), 1)
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return matrix


@RELAXED
@given(data=st.data())
def test_any_matrix_and_linear_parents_give_mrml_s_own_world_positions(
    data, new_scene, add_volume_node, add_linear_transform
):
    scene = new_scene()
    node = add_volume_node(scene, np.zeros((3, 4, 5), np.uint8), data.draw(affines()))
    parent = None
    for _ in range(data.draw(st.integers(0, 3))):
        parent = add_linear_transform(scene, data.draw(affines((-0.2, 0.2))), parent)
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())

    volume = read_volume(node).volume

    ijk = np.array([[0, 0, 0], [4, 3, 2], [1, 2, 0], [2.5, 0.25, 1.5]])
    expected = []
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    for point in ijk:
        own = matrix.MultiplyPoint((*point, 1.0))[:3]
        world = [0.0] * 3
        node.TransformPointToWorld(own, world)
        expected.append(world)
    scale = np.abs(expected).max() + 1
    np.testing.assert_allclose(volume.to_ras(ijk), expected, atol=1e-9 * scale)


@RELAXED
@given(
    matrix=affines(),
    kind=st.sampled_from(
        ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64", "bool"]
    ),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    seed=st.integers(0, 1000),
)
def test_a_volume_survives_the_way_to_the_scene_and_back(matrix, kind, shape, seed, new_scene):
    rng = np.random.default_rng(seed)
    voxels = (rng.random(shape) * 100 - (0 if kind[0] in "ub" else 50)).astype(kind)
    volume = Volume(voxels, matrix, modality="CT", name="thorax")

    back = read_volume(add_volume(new_scene(), volume)).volume

    np.testing.assert_array_equal(back.voxels, voxels)
    assert back.voxels.dtype == (np.uint8 if kind == "bool" else np.dtype(kind))
    np.testing.assert_allclose(back.ijk_to_ras, matrix, rtol=1e-12, atol=1e-9)
    assert (back.modality, back.name) == ("CT", "thorax")


def test_colours_survive_too(a_scene):
    voxels = np.random.default_rng(0).integers(0, 256, (1, 6, 7, 3)).astype(np.uint8)
    node = add_volume(a_scene, Volume(voxels, np.eye(4)))
    assert node.IsA("vtkMRMLVectorVolumeNode")
    found = read_volume(node)
    assert found.volume.is_color
    assert found.notices == ()
    np.testing.assert_array_equal(found.volume.voxels, voxels)


def test_voxels_are_shared_not_copied_and_cannot_be_written(a_volume_node):
    volume = read_volume(a_volume_node).volume
    own = slicer.util.arrayFromVolume(a_volume_node)
    assert np.shares_memory(volume.voxels, own)
    own[1, 2, 3] = -7
    assert volume.voxels[1, 2, 3] == -7
    with pytest.raises(ValueError, match="read-only"):
        volume.voxels[0, 0, 0] = 1


def test_voxels_outlive_the_node(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    before = volume.voxels.copy()
    a_scene.Clear(0)
    del a_volume_node
    np.testing.assert_array_equal(volume.voxels, before)


@pytest.mark.parametrize(
    ("components", "kind", "notice"),
    [(4, "uint8", "opacity"), (2, "uint8", "2 components"), (3, "int16", "3 components"), (3, "float32", "3 comp")],
)
def test_other_vectors_say_what_was_left_out(components, kind, notice, a_scene, add_volume_node):
    voxels = (np.random.default_rng(0).random((2, 3, 4, components)) * 200).astype(kind)
    found = read_volume(add_volume_node(a_scene, voxels, np.eye(4)))
    expected = voxels[..., :3] if components == 4 else voxels[..., 0]
    np.testing.assert_array_equal(found.volume.voxels, expected)
    assert notice in found.notices[0]


def test_an_image_that_does_not_begin_at_index_0(a_scene, add_volume_node):
    node = add_volume_node(a_scene, np.zeros((4, 4, 4), np.uint8), np.diag([2.0, 3, 4, 1]))
    node.GetImageData().SetExtent(1, 4, 2, 5, 3, 6)
    np.testing.assert_allclose(read_volume(node).volume.to_ras(np.zeros((1, 3))), [[2, 6, 12]])


def test_nothing_to_read(a_scene):
    with pytest.raises(InputError, match="choose one"):
        read_volume(None)
    with pytest.raises(InputError, match="no voxels"):
        read_volume(a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    with pytest.raises(InputError, match="no voxels"):
        read_volume(a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "no volume"))


def test_a_flattening_transform_is_refused(a_scene, a_volume_node, add_linear_transform):
    parent = add_linear_transform(a_scene, np.diag([1.0, 1, 0, 1]))
    a_volume_node.SetAndObserveTransformNodeID(parent.GetID())
    with pytest.raises(GeometryError):
        read_volume(a_volume_node)


def a_sequence(scene, frames, add_volume_node):
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "beats")
    for number, voxels in enumerate(frames):
        frame = add_volume_node(scene, voxels, np.diag([1.0 + number, 1, 1, 1]))
        sequence.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "player")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    logic.UpdateProxyNodesFromSequences(browser)
    return browser, browser.GetProxyNode(sequence), logic


def test_a_sequence_is_read_through_its_proxy(a_scene, add_volume_node):
    frames = [np.full((2, 3, 4), n, np.int16) for n in range(3)]
    browser, proxy, logic = a_sequence(a_scene, frames, add_volume_node)
    keys = set()
    for number in (0, 2, 1):
        browser.SetSelectedItemNumber(number)
        logic.UpdateProxyNodesFromSequences(browser)
        found = read_volume(proxy)
        np.testing.assert_array_equal(found.volume.voxels, frames[number])
        assert found.frame == frame_of(proxy) == number
        assert found.volume.spacing[0] == pytest.approx(1 + number)
        keys.add(geometry_key(proxy))
    assert len(keys) == 3


def test_a_plain_volume_has_no_frame(a_volume_node):
    assert frame_of(a_volume_node) is None


def test_the_key_changes_with_voxels_matrix_and_transforms_only(a_scene, a_volume_node, add_linear_transform):
    key = geometry_key(a_volume_node)
    a_volume_node.SetName("other")
    assert geometry_key(a_volume_node) == key
    slicer.util.arrayFromVolume(a_volume_node)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(a_volume_node)
    edited = geometry_key(a_volume_node)
    assert edited != key
    parent = add_linear_transform(a_scene, np.eye(4))
    a_volume_node.SetAndObserveTransformNodeID(parent.GetID())
    moved = geometry_key(a_volume_node)
    assert moved != edited
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.0, 2, 1, 1])))
    assert geometry_key(a_volume_node) != moved


def test_the_modality_comes_from_the_node_its_series_or_its_units(a_scene, a_volume_node):
    assert modality_of(a_volume_node) is None
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    a_volume_node.SetVoxelValueUnits(entry)
    assert modality_of(a_volume_node) == "CT"
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), a_volume_node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    assert modality_of(a_volume_node) == "MR"
    a_volume_node.SetAttribute("DICOM.Modality", "PT")
    assert modality_of(a_volume_node) == "PT"
