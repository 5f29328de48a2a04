"""`samfinetune export`: what Slicer saved, as NIfTI."""

import json

import numpy as np
import pytest
import SimpleITK as sitk


def write_segmentation(path, layers, segments):
    """A .seg.nrrd with Slicer's fields: ``segments`` are (name, value, layer)."""
    stacked = np.stack(layers, axis=-1) if len(layers) > 1 else layers[0]
    image = sitk.GetImageFromArray(stacked.astype(np.uint8), isVector=len(layers) > 1)
    image.SetSpacing([2.0, 2.0, 3.0])
    image.SetOrigin([-10.0, 5.0, 7.0])
    for n, (name, value, layer) in enumerate(segments):
        fields = {"ID": f"Segment_{n + 1}", "Name": name, "Color": "0.5 0.25 1", "LabelValue": value, "Layer": layer}
        for field, content in fields.items():
            image.SetMetaData(f"Segment{n}_{field}", str(content))
    sitk.WriteImage(image, str(path))


@pytest.fixture
def two_boxes() -> tuple[np.ndarray, np.ndarray]:
    first, second = np.zeros((2, 6, 10, 12), np.uint8)
    first[1:4, 2:6, 2:8] = 1
    second[2:5, 4:9, 4:10] = 1
    return first, second


def values(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_segments_that_do_not_overlap_share_a_file(run, two_boxes, tmp_path):
    first, second = two_boxes
    labels = np.where(first, 1, second * 2)
    write_segmentation(tmp_path / "s.seg.nrrd", [labels], [("liver", 1, 0), ("tumour", 2, 0)])
    code, out, err = run("export", tmp_path / "s.seg.nrrd", tmp_path / "out.nii.gz")
    assert code == 0, err
    assert "liver, tumour" in out
    written = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(written), labels)
    assert np.allclose(written.GetOrigin(), [-10, 5, 7]) and np.allclose(written.GetSpacing(), [2, 2, 3])
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert [(s["value"], s["name"], s["color"]) for s in sidecar["segments"]] == [
        (1, "liver", [0.5, 0.25, 1.0]),
        (2, "tumour", [0.5, 0.25, 1.0]),
    ]


def test_overlapping_segments_get_a_file_each(run, two_boxes, tmp_path):
    segments = [("liver", 1, 0), ("lesion 1/2", 1, 1)]
    write_segmentation(tmp_path / "s.seg.nrrd", list(two_boxes), segments)
    code, out, err = run("export", tmp_path / "s.seg.nrrd", tmp_path / "out.nii.gz", "--json")
    assert code == 0, err
    paths = [tmp_path / "out_liver.nii.gz", tmp_path / "out_lesion_1_2.nii.gz"]
    assert [entry["path"] for entry in json.loads(out)["files"]] == [str(path) for path in paths]
    for path, expected in zip(paths, two_boxes, strict=True):
        assert np.array_equal(values(path), expected)
    assert not (tmp_path / "out.nii.gz").exists()
    assert json.loads((tmp_path / "out_lesion_1_2.json").read_text())["segments"][0]["name"] == "lesion 1/2"


def test_segments_of_one_name_keep_apart(run, two_boxes, tmp_path):
    write_segmentation(tmp_path / "s.seg.nrrd", list(two_boxes), [("node", 1, 0), ("node", 1, 1)])
    assert run("export", tmp_path / "s.seg.nrrd", tmp_path / "out.nii.gz")[0] == 0
    assert np.array_equal(values(tmp_path / "out_node.nii.gz"), two_boxes[0])
    assert np.array_equal(values(tmp_path / "out_node_2.nii.gz"), two_boxes[1])


def test_onto_the_grid_of_an_image(run, two_boxes, tmp_path):
    """The reference is larger and finer: every fine voxel takes the value of the coarse one that holds it."""
    write_segmentation(tmp_path / "s.seg.nrrd", [two_boxes[0]], [("liver", 1, 0)])
    reference = sitk.Image([40, 30, 20], sitk.sitkInt16)
    reference.SetSpacing([1.0, 1.0, 1.5])
    reference.SetOrigin([-14.3, 3.2, 4.1])
    sitk.WriteImage(reference, str(tmp_path / "image.nii.gz"))
    arguments = ("export", tmp_path / "s.seg.nrrd", tmp_path / "out.nii.gz", "--reference", tmp_path / "image.nii.gz")
    assert run(*arguments)[0] == 0
    plain = sitk.GetImageFromArray(two_boxes[0])
    plain.SetSpacing([2.0, 2.0, 3.0])
    plain.SetOrigin([-10.0, 5.0, 7.0])
    expected = sitk.Resample(plain, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    assert np.array_equal(values(tmp_path / "out.nii.gz"), sitk.GetArrayFromImage(expected))


def test_a_label_map_in_another_format(run, two_boxes, tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(two_boxes[0]), str(tmp_path / "labels.mha"))
    assert run("export", tmp_path / "labels.mha", tmp_path / "out.nii.gz")[0] == 0
    assert np.array_equal(values(tmp_path / "out.nii.gz"), two_boxes[0])


def test_what_cannot_be_exported(run, an_image, two_boxes, tmp_path):
    write_segmentation(tmp_path / "s.seg.nrrd", [two_boxes[0]], [("liver", 1, 0)])
    far = sitk.Image([4, 4, 4], sitk.sitkInt16)
    far.SetOrigin([900.0, 900.0, 900.0])
    sitk.WriteImage(far, str(tmp_path / "far.nii.gz"))
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkUInt8), str(tmp_path / "empty.nrrd"))
    (tmp_path / "old.nii.gz").write_text("keep me")
    for source, target, more, word in (
        ("missing.seg.nrrd", "out.nii.gz", (), "missing"),
        ("s.seg.nrrd", "out.nrrd", (), ".nii.gz"),
        ("s.seg.nrrd", "old.nii.gz", (), "--overwrite"),
        ("s.seg.nrrd", "out.nii.gz", ("--reference", tmp_path / "far.nii.gz"), "no place in common"),
        ("empty.nrrd", "out.nii.gz", (), "no segment"),
        (an_image, "out.nii.gz", (), "Labels"),
    ):
        code, _, err = run("export", tmp_path / source, tmp_path / target, *more)
        assert code == 2 and word in err and err.count("\n") == 1, err
    assert (tmp_path / "old.nii.gz").read_text() == "keep me"
