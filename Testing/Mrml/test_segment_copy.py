"""Copied segments, as label maps and as ``.seg.nrrd`` in parts, against all in one go and Slicer's own writer."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_disk import files_of_at_most

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")
vtk = pytest.importorskip("vtk")

from SAMFinetuneLogic.errors import InputError  # noqa: E402
from SAMFinetuneLogic.imaging.slicer_segmentation import read_slicer_segmentation  # noqa: E402
from SAMFinetuneLogic.mrml import segment_copy, segmentation_file  # noqa: E402
from SAMFinetuneLogic.mrml.images import oriented_image  # noqa: E402
from SAMFinetuneLogic.mrml.segment_copy import LabelParts, copy_segments  # noqa: E402
from SAMFinetuneLogic.mrml.segmentation_file import SegmentationFile  # noqa: E402
from SAMFinetuneLogic.mrml.segments import (  # noqa: E402
    add_segment,
    add_segmentation,
    segment_ids,
    segment_mask,
    segmentation_labels,
)
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402

RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPE = (7, 8, 9)
TERMS = "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~^^~^^~^^"


def affine(rng):
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.6, 1.8, 3)
    matrix[:3, 3] = rng.uniform(-2, 2, 3)
    return matrix


def put(node, segment_ids, voxels, matrix, start=None):
    """Let segments share one labelmap, with the values 1, 2, ... in it."""
    image = oriented_image(voxels, matrix, start)
    for value, segment_id in enumerate(segment_ids, start=1):
        segment = node.GetSegmentation().GetSegment(segment_id)
        segment.SetLabelValue(value)
        segment.AddRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(), image)


@pytest.fixture
def scan(a_scene, add_volume_node):
    """A volume, and a segmentation with three segments: two share a layer, the third overlaps them."""
    rng = np.random.default_rng(0)
    volume_node = add_volume_node(a_scene, np.zeros(SHAPE, np.int16), affine(rng))
    volume = read_volume(volume_node).volume
    node = add_segmentation(a_scene, volume_node, volume, "organs")
    ids = [add_segment(node, name) for name in ("liver", "kidney, left: upper\\pole", "tumour")]
    put(node, ids[:2], rng.integers(0, 3, (4, 5, 6), dtype=np.uint8), volume.ijk_to_ras, np.array([2, 1, 3]))
    put(node, ids[2:], rng.integers(0, 2, (5, 4, 5), dtype=np.uint8), volume.ijk_to_ras, np.array([1, 2, 0]))
    node.GetSegmentation().GetSegment(ids[0]).SetTag("TerminologyEntry", TERMS)
    node.GetSegmentation().GetSegment(ids[0]).SetColor(0.8, 0.4, 0.2)
    return node, volume


def masks(node, volume):
    return {segment: segment_mask(node, segment, volume) for segment in segment_ids(node)}


def read_back(path):
    node = slicer.vtkMRMLSegmentationNode()
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


def written_by_slicer(node, path):
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


def assert_same_masks(other, node, volume, expected):
    assert segment_ids(other) == segment_ids(node)
    for segment_id, mask in masks(other, volume).items():
        np.testing.assert_array_equal(mask, expected[segment_id])


def write(file, path):
    steps = list(file.write(path))
    assert steps == list(range(1, file.count + 1))
    return path


@RELAXED
@given(seed=st.integers(0, 2**32 - 1), same=st.booleans())
def test_parts_are_the_label_map(seed, same, new_scene, add_volume_node, monkeypatch):
    monkeypatch.setattr(segment_copy, "STEP_VOXELS", 150)
    rng = np.random.default_rng(seed)
    scene = new_scene()
    volume_node = add_volume_node(scene, np.zeros(SHAPE, np.uint8), affine(rng))
    volume = read_volume(volume_node).volume
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "s")
    ids = [add_segment(node) for _ in range(4)]  # the last one stays empty
    for chosen in (ids[:2], ids[2:3]):
        matrix = volume.ijk_to_ras if same else affine(rng)
        put(node, chosen, rng.integers(0, len(chosen) + 1, (5, 4, 6), dtype=np.uint8), matrix, rng.integers(-2, 3, 3))
    whole = segmentation_labels(node, volume)
    parts = LabelParts(copy_segments(node), node, volume)
    found = list(parts)
    assert len(found) == parts.count > 1
    np.testing.assert_array_equal(np.concatenate(found), whole.labels.voxels)
    count = np.add.reduce([mask.astype(int) for mask in masks(node, volume).values()])
    assert parts.overlapping == np.maximum(count - 1, 0).sum()


def test_a_copy_stays_what_it_is(scan):
    node, volume = scan
    before = segmentation_labels(node, volume).labels.voxels
    copied = copy_segments(node)
    file = SegmentationFile(node, copied)
    scalars = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap").GetPointData().GetScalars()
    scalars.Fill(0)
    node.GetSegmentation().RemoveSegment(segment_ids(node)[2])
    np.testing.assert_array_equal(np.concatenate(list(LabelParts(copied, node, volume))), before)
    assert file.count == 1 and copied[0].labelmap.values is copied[1].labelmap.values


@pytest.mark.parametrize("left", [3, 2])
@pytest.mark.parametrize("empty", [False, True])
def test_a_file_in_steps_is_what_slicer_writes(left, empty, scan, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation_file, "STEP_VOXELS", 60)
    node, volume = scan
    if left == 2:  # a single layer
        node.GetSegmentation().RemoveSegment(segment_ids(node)[2])
    if empty:
        add_segment(node, "never drawn")
    expected = masks(node, volume)
    file = SegmentationFile(node, copy_segments(node))
    assert file.count > 1
    ours = read_back(write(file, tmp_path / "ours.seg.nrrd"))
    theirs = read_back(written_by_slicer(node, tmp_path / "slicer.seg.nrrd"))
    for other in (ours, theirs):
        assert_same_masks(other, node, volume, expected)
        for segment_id in segment_ids(node):
            segment, original = (n.GetSegmentation().GetSegment(segment_id) for n in (other, node))
            assert segment.GetName() == original.GetName()
            np.testing.assert_allclose(segment.GetColor(), original.GetColor(), atol=1e-5)
    assert tags(ours) == tags(theirs) and tags(ours)[0] == TERMS
    fields = [header_fields(tmp_path / name) for name in ("ours.seg.nrrd", "slicer.seg.nrrd")]
    assert fields[0].keys() == fields[1].keys()
    places = ("_Layer", "_LabelValue", "_Extent")
    assert all(fields[0][name] == fields[1][name] for name in fields[0] if not name.endswith(places))
    images = [sitk.ReadImage(str(tmp_path / name)) for name in ("ours.seg.nrrd", "slicer.seg.nrrd")]
    assert images[0].GetSize() == images[1].GetSize() == SHAPE[::-1]
    np.testing.assert_allclose(images[0].GetOrigin(), images[1].GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(images[0].GetDirection(), images[1].GetDirection(), atol=1e-9)


def tags(node):
    found = []
    for number in range(node.GetSegmentation().GetNumberOfSegments()):
        text = vtk.reference("")
        node.GetSegmentation().GetNthSegment(number).GetTag("TerminologyEntry", text)
        found.append(str(text))
    return found


def header_fields(path):
    content = path.read_bytes()
    lines = content[: content.index(b"\n\n")].decode().splitlines()
    return dict(line.split(":=", 1) for line in lines if ":=" in line)


def test_other_readers_read_it(scan, tmp_path):
    node, volume = scan
    layers = read_slicer_segmentation(write(SegmentationFile(node, copy_segments(node)), tmp_path / "a.seg.nrrd"))
    assert [[s.name for s in layer.segments] for layer in layers][1] == ["tumour"]
    liver = next(s for s in layers[0].segments if s.name == "liver")
    expected = segment_mask(node, segment_ids(node)[0], volume)
    k, j, i = (layers[0].voxels == liver.value).nonzero()
    ras = layers[0].ijk_to_ras @ np.stack([i, j, k, np.ones_like(i)])
    found = np.zeros_like(expected)
    i, j, k = np.round(volume.to_ijk(ras[:3].T)).astype(int).T
    found[k, j, i] = True
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("flipped", [False, True])
def test_layers_on_different_grids_are_brought_together_in_steps(flipped, scan, tmp_path, monkeypatch):
    """Two segments share a layer that lies askew, or the other way round, and another reaches out of the volume."""
    monkeypatch.setattr(segmentation_file, "STEP_VOXELS", 60)
    node, volume = scan
    rng = np.random.default_rng(5)
    others = [add_segment(node, name) for name in ("elsewhere", "there too")]
    turn = np.diag([-1.0, 1.0, -1.0, 1.0]) if flipped else np.eye(4)
    if not flipped:
        turn[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn[:3, 3] = np.array([3.0, 4.0, 3.0]) - turn[:3, :3] @ [2.0, 3.0, 2.0]
    start = np.array([-6, 2, -5]) if flipped else np.zeros(3, dtype=int)
    put(node, others, rng.integers(0, 3, (5, 6, 4), dtype=np.uint8), volume.ijk_to_ras @ turn, start)
    expected = masks(node, volume)
    assert all(mask.any() for mask in expected.values())
    file = SegmentationFile(node, copy_segments(node))
    assert file.count > 1
    ours = read_back(write(file, tmp_path / "ours.seg.nrrd"))
    theirs = read_back(written_by_slicer(node, tmp_path / "slicer.seg.nrrd"))
    for other in (ours, theirs):
        assert_same_masks(other, node, volume, expected)


def test_nothing_drawn_is_written_in_one_step(a_scene, add_volume_node, tmp_path):
    volume_node = add_volume_node(a_scene, np.zeros(SHAPE, np.int16), np.eye(4))
    node = add_segmentation(a_scene, volume_node, read_volume(volume_node).volume, "organs")
    add_segment(node, "liver")
    file = SegmentationFile(node, copy_segments(node))
    assert file.count == 1
    found = read_back(write(file, tmp_path / "a.seg.nrrd"))
    assert segment_ids(found) == segment_ids(node)
    assert not found.GetSegmentation().GetNthSegment(0).GetNameAutoGenerated()  # it was given


def test_a_folder_that_cannot_be_written_is_an_error(scan, tmp_path):
    node, _ = scan
    with pytest.raises(OSError, match="could not write"):
        list(SegmentationFile(node, copy_segments(node)).write(tmp_path / "missing" / "a.seg.nrrd"))


@pytest.mark.parametrize("drawn", [True, False])
def test_a_file_that_breaks_off_is_noticed(drawn, a_scene, add_volume_node, scan, tmp_path):
    """Slicer's writer says that all went well."""
    node, _ = scan
    if not drawn:
        volume_node = add_volume_node(a_scene, np.zeros(SHAPE, np.int16), np.eye(4))
        node = add_segmentation(a_scene, volume_node, read_volume(volume_node).volume, "organs")
        add_segment(node, "liver")
    file = SegmentationFile(node, copy_segments(node))
    whole = written_by_slicer(node, tmp_path / "whole.seg.nrrd").read_bytes()
    for size in (0, 100, whole.index(b"\n\n") + 3):
        with files_of_at_most(size), pytest.raises(OSError):
            list(file.write(tmp_path / "a.seg.nrrd"))


def test_nothing_to_copy(a_scene):
    with pytest.raises(InputError, match="no segments"):
        copy_segments(a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "s"))
