import numpy as np
import pytest
from labelled_data import LIVER, SPLEEN, WINDOW, labelled_set, labelled_volume

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.finetuning.labelled_slices import joined, labelled_slices
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment


def test_slices_hold_the_windowed_pixels_and_the_labels():
    volume, labels = labelled_volume()

    data = labelled_slices(volume, labels, WINDOW, "j", [25, 20])

    assert [entry.slice.index for entry in data.slices] == [20, 25]
    entry = data.slices[0]
    expected = np.clip(np.rint(volume.voxels[:, 20, :].astype(float) * 255 / 200), 0, 255)
    assert np.abs(entry.pixels.astype(int) - expected).max() <= 1
    assert np.array_equal(entry.labels, labels.voxels[:, 20, :])
    assert entry.spacing == pytest.approx((3.0, 0.8))
    assert data.values == (1,)


def test_all_labelled_slices_by_default():
    volume, labels = labelled_volume()
    data = labelled_slices(volume, labels, WINDOW)
    assert [entry.slice.index for entry in data.slices] == np.flatnonzero(labels.voxels.any(axis=(1, 2))).tolist()
    assert data.segments == (LIVER, SPLEEN)


def test_a_listed_slice_without_labels_is_known_to_be_empty():
    data = labelled_set((0, 8))
    assert [entry.is_empty for entry in data.slices] == [True, False]


def test_turned_slices_are_in_the_radiological_view():
    plain, turned = labelled_set((8,)).slices[0], labelled_set((8,), turned=True).slices[0]
    # This volume is stored left to right and back to front: the view is the transposed or mirrored array.
    assert sorted(plain.pixels.ravel()) == sorted(turned.pixels.ravel())
    assert (turned.labels == 1).sum() == (plain.labels == 1).sum()


def test_joined_sets_number_their_images():
    data = joined([labelled_set((2, 8)), labelled_set((5,), seed=1)])
    assert [entry.group for entry in data.slices] == [0, 0, 1]
    assert data.images == ("image0", "image1")
    assert data.title(2) == "image1 k=5"


def test_one_value_with_two_names_is_refused():
    volume, labels = labelled_volume()
    other = LabelMap(labels.voxels, labels.ijk_to_ras, (Segment(1, "kidney", (0, 0, 1)), SPLEEN))
    with pytest.raises(InputError, match="'liver' in one image and 'kidney' in another"):
        joined([labelled_set(), labelled_slices(volume, other, WINDOW)])


def test_labels_of_different_data_sets_stay_apart():
    data = joined([labelled_set((5, 8)), labelled_set((6,), seed=1)], mixed=True)
    assert data.values == (1, 2, 3, 4)
    assert [segment.name for segment in data.segments][1:3] == ["image0: spleen", "image1: liver"]
    original = labelled_set((6,), seed=1).slices[0].labels
    assert np.array_equal(data.slices[2].labels, np.array([0, 3, 4])[original])


def test_bad_input():
    volume, labels = labelled_volume()
    with pytest.raises(InputError, match="Nothing is labelled"):
        labelled_slices(volume, labels, WINDOW, "k", [0])
    with pytest.raises(GeometryError, match="outside of the volume"):
        labelled_slices(volume, labels, WINDOW, "k", [99])
    with pytest.raises(GeometryError, match="another grid"):
        labelled_slices(volume, LabelMap(labels.voxels[1:], labels.ijk_to_ras), WINDOW)
    with pytest.raises(InputError, match="no labelled slices"):
        joined([])
