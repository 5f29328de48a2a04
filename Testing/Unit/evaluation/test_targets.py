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


def test_labels_on_a_part_of_the_grid_are_found_through_space(a_manifest_file):
    whole = targets_of(a_manifest_file, "abdomen")
    path = a_manifest_file.parent / "abdomen/label.nii.gz"
    labels = sitk.ReadImage(str(path))
    sitk.WriteImage(labels[5:, 3:38, 1:5], str(path))

    part = targets_of(a_manifest_file, "abdomen")

    assert [(target.label, target.slice) for target in part] == [(target.label, target.slice) for target in whole]
    for one, other in zip(whole, part, strict=True):
        kept = np.zeros_like(one.mask)
        kept[3:38, 5:] = one.mask[3:38, 5:]
        assert np.array_equal(other.mask, kept)


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


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, [255]),  # no value is named
        ({"255": "disc"}, [255]),  # the maximum alone
        ({"1": "disc", "255": "disc"}, [255]),  # one that does not occur
        ({"254": "rim"}, [254, 255]),  # one below the maximum: gray values are labels
    ],
)
def test_half_the_maximum_is_the_border_unless_gray_values_are_named(a_manifest_file, names, expected):
    content = json.loads(a_manifest_file.read_text())
    content[2]["label_names"] = names
    a_manifest_file.write_text(json.dumps(content))

    assert [target.label for target in targets_of(a_manifest_file, "film")] == expected


def test_a_single_slice_in_a_medical_format_keeps_its_values(a_manifest_file):
    folder = a_manifest_file.parent / "film"
    mask = sitk.ReadImage(str(folder / "mask.png"))
    sitk.WriteImage(mask, str(folder / "mask.nii.gz"))
    content = json.loads(a_manifest_file.read_text())
    content[2]["pairs"][0]["label"] = "mask.nii.gz"
    a_manifest_file.write_text(json.dumps(content))

    assert [target.label for target in targets_of(a_manifest_file, "film")] == [254, 255]


def test_the_example_is_halfway_to_the_farther_end(a_manifest_file):
    labels = np.zeros((12, 40, 50), dtype=np.uint8)
    for k, side in enumerate([0, 0, 9, 20, 9, 9, 9, 9, 9, 8, 7, 0]):  # 7 x 7 voxels are too few
        labels[k, :side, :side] = 1
    image = sitk.GetImageFromArray(labels)
    sitk.WriteImage(image, str(a_manifest_file.parent / "abdomen/label.nii.gz"))
    sitk.WriteImage(
        sitk.GetImageFromArray(labels.astype(np.int16)), str(a_manifest_file.parent / "abdomen/image.nii.gz")
    )

    (target,) = targets_of(a_manifest_file, "abdomen")

    assert target.slice.index == 3
    assert target.example.slice.index == 6  # from 3 to 9
    assert np.array_equal(target.example.mask, labels[6] == 1)
    assert target.example.name == target.name


def test_a_structure_on_one_slice_takes_another_image_of_its_case(a_manifest_file):
    folder = a_manifest_file.parent / "film"
    for name in ("image", "mask"):
        picture = sitk.ReadImage(str(folder / f"{name}.png"))
        sitk.WriteImage(sitk.Flip(picture, [True, False]), str(folder / f"{name}_2.png"))
    content = json.loads(a_manifest_file.read_text())
    content[2]["pairs"].append({"image": "image_2.png", "label": "mask_2.png"})
    a_manifest_file.write_text(json.dumps(content))

    one, two = targets_of(a_manifest_file, "film")

    assert one.example is not None and np.array_equal(one.example.mask, two.mask)
    assert two.example is not None and two.example.image == "image.png"


def test_pixels_are_what_the_window_shows(a_manifest_file):
    target = targets_of(a_manifest_file, "film", window="0/100")[0]

    assert target.window.name == "custom"
    assert target.pixels.dtype == np.uint8
    assert set(np.unique(target.pixels)) == {255}
    assert np.array_equal(target.gray, target.pixels)
