import json

import numpy as np
import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.targets import MIN_VOXELS, case_targets


def targets_of(manifest_file, case, **options):
    manifest = read_manifest(manifest_file)
    return case_targets(next(c for c in manifest.cases if c.name == case), **options)


def test_each_structure_is_taken_on_its_largest_slice(a_manifest_file):
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(a_manifest_file.parent / "abdomen/label.nii.gz")))

    targets = targets_of(a_manifest_file, "abdomen")

    assert [(target.label, target.name) for target in targets] == [(1, "liver"), (2, "spleen")]
    for target in targets:
        areas = [(layer == target.label).sum() for layer in labels]
        assert target.slice.axis == "k"
        assert areas[target.slice.index] == max(areas) == target.mask.sum()
        assert np.array_equal(target.mask, labels[target.slice.index] == target.label)
        assert target.spacing == pytest.approx((0.8, 0.8))


def test_small_structures_are_left_out(a_manifest_file):
    path = a_manifest_file.parent / "abdomen/label.nii.gz"
    image = sitk.ReadImage(str(path))
    labels = sitk.GetArrayFromImage(image)
    assert (labels == 3).sum() == MIN_VOXELS - 1
    labels[0, 7, 0] = 3
    enlarged = sitk.GetImageFromArray(labels)
    enlarged.CopyInformation(image)
    sitk.WriteImage(enlarged, str(path))

    assert [target.label for target in targets_of(a_manifest_file, "abdomen")] == [1, 2, 3]


def test_the_largest_structures_of_a_case_are_kept(a_manifest_file):
    assert [target.name for target in targets_of(a_manifest_file, "abdomen", max_labels=1)] == ["liver"]
    assert [target.image for target in targets_of(a_manifest_file, "brain", max_labels=1)] == ["002_image.nii.gz"]
    assert len(targets_of(a_manifest_file, "brain", max_labels=2)) == 2


def test_the_same_truth_in_another_storage_counts_once(a_manifest_file):
    folder = a_manifest_file.parent / "abdomen"
    flipped = sitk.Flip(sitk.ReadImage(str(folder / "label.nii.gz")), [False, True, False])
    sitk.WriteImage(flipped, str(folder / "flipped.nii.gz"))
    content = json.loads(a_manifest_file.read_text())
    content[0]["pairs"].append({"image": "image.nii.gz", "label": "flipped.nii.gz"})
    a_manifest_file.write_text(json.dumps(content))

    both = targets_of(a_manifest_file, "abdomen")
    content[0]["pairs"].reverse()
    a_manifest_file.write_text(json.dumps(content))
    from_the_flipped = targets_of(a_manifest_file, "abdomen")

    assert [target.label for target in both] == [1, 2]
    for one, other in zip(both, from_the_flipped, strict=True):
        assert (one.label_map, other.label_map) == ("label.nii.gz", "flipped.nii.gz")
        assert np.array_equal(one.mask, other.mask)


def test_a_gray_mask_of_a_picture_is_one_structure(a_manifest_file):
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(a_manifest_file.parent / "film/mask.png")))
    assert set(np.unique(mask)) == {0, 90, 254, 255}

    (target,) = targets_of(a_manifest_file, "film")

    assert (target.label, target.name) == (255, "lungs")
    assert np.array_equal(target.mask, mask >= 254)


def test_a_picture_whose_values_the_manifest_names_keeps_them(a_manifest_file):
    content = json.loads(a_manifest_file.read_text())
    content[2]["label_names"] = {"254": "rim", "255": "core"}
    a_manifest_file.write_text(json.dumps(content))

    targets = targets_of(a_manifest_file, "film")

    assert [(target.label, target.name) for target in targets] == [(254, "rim"), (255, "core")]


def test_pixels_are_what_the_window_shows(a_manifest_file):
    target = targets_of(a_manifest_file, "film", window="0/100")[0]

    assert target.window.name == "custom"
    assert target.pixels.dtype == np.uint8
    assert set(np.unique(target.pixels)) == {255}
    assert np.array_equal(target.gray, target.pixels)
