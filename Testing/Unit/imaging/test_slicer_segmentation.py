import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.reading import read_label_map
from SAMFinetuneLogic.imaging.resampling import resample_label_map
from SAMFinetuneLogic.imaging.slicer_segmentation import read_slicer_segmentation
from SAMFinetuneLogic.imaging.volume import Volume

# Runs in a process of its own: Slicer's libraries bring an ITK that need not agree with SimpleITK's.
SAVE_WITH_SLICER = """
import sys
import numpy as np, vtk
from vtk.util.numpy_support import numpy_to_vtk
from slicer import vtkMRMLScene, vtkMRMLSegmentationNode, vtkMRMLSegmentationStorageNode
from slicer import vtkOrientedImageData, vtkSegment

path = sys.argv[1]
data = np.load(path + ".npz")
scene = vtkMRMLScene()
node = vtkMRMLSegmentationNode()
scene.AddNode(node)
matrix = vtk.vtkMatrix4x4()
for row in range(4):
    for column in range(4):
        matrix.SetElement(row, column, data["affine"][row, column])
names = [("Tumour größe", (1, 0, 0)), ("liver", (0, 1, 0)), ("cyst", (0.25, 0.5, 0.75))]
for mask, (name, color) in zip(data["masks"], names):
    image = vtkOrientedImageData()
    image.SetDimensions(*mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    image.SetImageToWorldMatrix(matrix)
    segment = vtkSegment()
    segment.SetName(name)
    segment.SetColor(*color)
    segment.AddRepresentation("Binary labelmap", image)
    node.GetSegmentation().AddSegment(segment)
node.GetSegmentation().CollapseBinaryLabelmaps(False)
storage = vtkMRMLSegmentationStorageNode()
scene.AddNode(storage)
storage.SetFileName(path)
storage.SetCropToMinimumExtent(True)
assert storage.WriteData(node)
"""


def three_masks(overlap):
    masks = np.zeros((3, 8, 9, 10), bool)
    masks[0, 2:5, 3:6, 4:8] = True
    masks[1, 4:7, 5:8, 6:9] = True
    masks[2, 1:2, 1:3, 1:3] = True
    if not overlap:
        masks[1] &= ~masks[0]
    return masks


@pytest.mark.skipif(find_spec("slicer_core") is None, reason="slicer-core is not installed (extra 'slicer')")
@pytest.mark.parametrize("overlap", [True, False])
def test_a_file_saved_by_slicers_storage_node(overlap, an_affine, tmp_path):
    path = tmp_path / "saved.seg.nrrd"
    masks = three_masks(overlap)
    np.savez(f"{path}.npz", masks=masks, affine=an_affine)
    saved = subprocess.run(
        [sys.executable, "-c", SAVE_WITH_SLICER, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert saved.returncode == 0, saved.stderr[-2000:]
    layers = read_slicer_segmentation(path)
    assert len(layers) == (2 if overlap else 1)
    assert layers[0].shape != masks.shape[1:]  # Slicer cropped it, so the place of the block is put to the test
    reference = Volume(np.zeros(masks.shape[1:]), an_affine)
    found = {}
    for layer in layers:
        on_reference = resample_label_map(layer, reference)
        for segment in layer.segments:
            assert segment.name not in found
            found[segment.name] = (on_reference.mask(segment.value), segment.color)
    colors = {"Tumour größe": (1, 0, 0), "liver": (0, 1, 0), "cyst": (0.25, 0.5, 0.75)}
    assert found.keys() == colors.keys()
    for mask, (name, color) in zip(masks, colors.items(), strict=True):
        np.testing.assert_array_equal(found[name][0], mask)
        np.testing.assert_allclose(found[name][1], color, atol=1e-6)
    if overlap:
        with pytest.raises(InputError, match="overlap"):
            read_label_map(path)
    else:
        assert len(read_label_map(path).segments) == 3


def save_nrrd(path, layers, fields):
    """Layers (n, k, j, i) as Slicer stores them: one component each, fields as key/value pairs."""
    several = len(layers) > 1
    image = sitk.GetImageFromArray(np.moveaxis(layers, 0, -1) if several else layers[0], isVector=several)
    for key, value in fields.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))


def fields_of(number, value, layer, name):
    values = {"ID": f"S_{number}", "Name": name, "Color": "0.5 0.25 1", "LabelValue": str(value), "Layer": str(layer)}
    return {f"Segment{number}_{key}": text for key, text in values.items()}


def test_layers_values_and_colours(tmp_path):
    layers = np.zeros((2, 2, 3, 4), np.uint8)
    layers[0, 0, 0, 0], layers[0, 0, 0, 1], layers[1, 0, 0] = 1, 5, 1
    fields = {**fields_of(0, 1, 0, "a"), **fields_of(1, 1, 1, "b"), **fields_of(10, 5, 0, "c")}
    path = tmp_path / "x.seg.nrrd"
    save_nrrd(path, layers, {**fields, "Segmentation_ReferenceImageExtentOffset": "7 8 9"})
    first, second = read_slicer_segmentation(path)
    assert first.segments == (Segment(1, "a", (0.5, 0.25, 1.0)), Segment(5, "c", (0.5, 0.25, 1.0)))
    assert second.segments == (Segment(1, "b", (0.5, 0.25, 1.0)),)
    np.testing.assert_array_equal(first.voxels, layers[0])
    np.testing.assert_array_equal(second.voxels, layers[1])
    np.testing.assert_array_equal(first.ijk_to_ras, np.diag([-1, -1, 1, 1]))  # the offset moves nothing


def test_files_from_before_layers(tmp_path):
    layers = np.zeros((2, 2, 3, 4), np.uint8)
    layers[0, 0], layers[1, :, 0] = 1, 1
    path = tmp_path / "old.seg.nrrd"
    save_nrrd(path, layers, {f"Segment{n}_{key}": f"{key}{n}" for n in range(2) for key in ("ID", "Name")})
    assert [[s.name for s in layer.segments] for layer in read_slicer_segmentation(path)] == [["Name0"], ["Name1"]]


def test_a_plain_label_map_is_one_layer(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 3, (1, 2, 3, 4), dtype=np.uint8)
    save_nrrd(tmp_path / "plain.nrrd", voxels, {})
    (only,) = read_slicer_segmentation(tmp_path / "plain.nrrd")
    np.testing.assert_array_equal(only.voxels, voxels[0])
    assert [s.name for s in only.segments] == ["Segment_1", "Segment_2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Segment0_Layer": "3"}, "segment 0"),
        ({"Segment0_LabelValue": "one"}, "segment 0"),
        ({"Segment0_Color": "1 0"}, "segment 0"),
        ({"Segmentation_SourceRepresentation": "Fractional labelmap"}, "fractions"),
    ],
)
def test_damaged_fields(changes, message, tmp_path):
    save_nrrd(tmp_path / "x.seg.nrrd", np.ones((1, 2, 3, 4), np.uint8), {**fields_of(0, 1, 0, "a"), **changes})
    with pytest.raises(InputError, match=message):
        read_slicer_segmentation(tmp_path / "x.seg.nrrd")
    with pytest.raises(InputError):
        read_label_map(tmp_path / "x.seg.nrrd")


def test_no_segmentation(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_slicer_segmentation(tmp_path / "missing.seg.nrrd")
    save_nrrd(tmp_path / "ct.nrrd", np.full((1, 2, 3, 4), -5, np.int16), {})
    with pytest.raises(InputError, match="not a segmentation"):
        read_slicer_segmentation(tmp_path / "ct.nrrd")
