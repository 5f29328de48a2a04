"""What is said about labels that do not lie on the image."""

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.label_loss import label_losses, outside_share
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.resampling import resample_label_map
from SAMFinetuneLogic.imaging.volume import Volume


def moved(millimetres: float, spacing: float = 1.0) -> np.ndarray:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[0, 3] = millimetres
    return affine


def a_bar(affine: np.ndarray) -> LabelMap:
    """Ten voxels along i."""
    voxels = np.zeros((3, 3, 10), np.uint8)
    voxels[1, 1] = 1
    return LabelMap(voxels, affine, name="bar.nii.gz")


@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0, 9.0, 12.0, -3.0])
def test_the_share_outside_is_counted(shift):
    image = Volume(np.zeros((3, 3, 10), np.int16), np.eye(4))
    assert outside_share(a_bar(moved(shift)), image) == pytest.approx(min(abs(shift), 10) / 10)


def test_on_grids_of_any_kind(an_affine):
    """The same place, turned and flipped and half as fine: nothing is lost."""
    labels = a_bar(an_affine)
    image = Volume(np.zeros((2, 2, 5), np.int16), an_affine @ np.diag([2.0, 2.0, 2.0, 1.0]))
    assert outside_share(labels, image) == 0
    turned = an_affine @ np.array([[0.0, 0, 1, 0], [-1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 1]])
    image = Volume(np.zeros((10, 3, 3), np.int16), turned)
    assert outside_share(labels, image) == 0


def test_what_the_user_is_told():
    labels, image = a_bar(moved(4.0)), Volume(np.zeros((3, 3, 10), np.int16), np.eye(4))
    (text,) = label_losses(labels, image, resample_label_map(labels, image))
    assert text.startswith("40% of what is labelled in bar.nii.gz lies outside")
    labels = a_bar(np.eye(4))
    assert label_losses(labels, image, resample_label_map(labels, image)) == []


def test_a_thin_structure_between_the_slices_of_a_coarse_image():
    voxels = np.zeros((10, 4, 4), np.uint8)
    voxels[5], voxels[0] = 1, 2
    labels = LabelMap(voxels, np.eye(4))
    image = Volume(np.zeros((2, 4, 4), np.int16), np.diag([1.0, 1.0, 7.0, 1.0]))
    texts = label_losses(labels, image, resample_label_map(labels, image))
    assert texts == ["Nothing of Segment_1 is left on the grid of the image."]


def test_an_empty_label_map_loses_nothing():
    labels = LabelMap(np.zeros((2, 2, 2), np.uint8), moved(50.0))
    assert outside_share(labels, Volume(np.zeros((2, 2, 2), np.int16), np.eye(4))) == 0
