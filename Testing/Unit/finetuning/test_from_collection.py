import numpy as np
import pytest
from labelled_data import LIVER, SPLEEN, WINDOW, labelled_set, labelled_volume
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.collection import merge
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.finetuning.from_collection import slices_of_collection
from SAMFinetuneLogic.finetuning.splitting import split
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window


@pytest.fixture(scope="module")
def a_model():
    return loaded(small_compact_sam())


def test_they_are_the_slices_that_the_image_itself_gives(a_model):
    volume, labels = labelled_volume(name="image0")
    collection = new_collection(volume, labels, [11, 2, 5, 15], a_model, "k", WINDOW)

    found, expected = slices_of_collection(collection), labelled_set((2, 5, 11, 15), turned=True)

    assert (found.segments, found.images, found.windows) == ((LIVER, SPLEEN), ("image0",), (WINDOW,))
    assert found.turned and [found.title(n) for n in range(4)] == [expected.title(n) for n in range(4)]
    for one, other in zip(found.slices, expected.slices, strict=True):
        assert np.array_equal(one.pixels, other.pixels) and np.array_equal(one.labels, other.labels)
        assert (one.spacing, one.group) == (other.spacing, other.group)
        assert (one.slice, one.plane) == (other.slice, other.plane) and one.plane == "axial"
    assert found.slices[3].is_empty, "a negative slice stays one"


def test_the_same_plane_of_a_volume_stored_otherwise_has_the_same_axis(a_model):
    volume, labels = labelled_volume()
    # The slices along k become those along i.
    columns = volume.ijk_to_ras[:, [2, 0, 1, 3]]
    moved = Volume(volume.voxels.transpose(1, 2, 0).copy(), columns, name="moved")
    moved_labels = type(labels)(labels.voxels.transpose(1, 2, 0).copy(), columns, labels.segments)
    first = slices_of_collection(new_collection(volume, labels, [5, 8], a_model, "k", WINDOW))
    second = slices_of_collection(new_collection(moved, moved_labels, [5, 8], a_model, "i", WINDOW))
    assert [entry.slice for entry in first.slices] == [entry.slice for entry in second.slices]
    for one, other in zip(first.slices, second.slices, strict=True):
        assert np.array_equal(one.pixels, other.pixels) and np.array_equal(one.labels, other.labels)


def test_one_image_in_several_windows_is_one_image(a_model):
    volume, labels = labelled_volume(name="image0")
    whole = new_collection(volume, labels, [3, 6, 9], a_model, "k", WINDOW)
    for first, width in ((4, 150.0), (5, 170.0)):
        whole = merge(
            whole, new_collection(volume, labels, [first, first + 3], a_model, "k", Window(0.0, width, "custom"))
        )
    data = slices_of_collection(whole)
    assert {entry.group for entry in data.slices} == {0} and data.images == ("image0",)
    parts = split(data)
    gate = [data.slices[number].slice.index for number in parts.gate]
    train = [data.slices[number].slice.index for number in parts.train]
    assert max(gate) - min(gate) == len(gate) - 1, "a block of slices is held out"
    assert sum(abs(one - other) == 1 for one in gate for other in train) <= 2, "which touches others at its ends alone"


def test_images_that_share_a_name_are_told_apart_by_grid_and_window(a_model):
    def collection(seed, window):
        return new_collection(*labelled_volume(seed), [4, 8, 12], a_model, "k", window)

    whole = collection(0, WINDOW)
    for seed in (1, 2):
        whole = merge(whole, collection(seed, Window(0.0, 180.0 + seed, "custom")))
    data = slices_of_collection(whole)
    assert [entry.group for entry in data.slices] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    parts = split(data)
    gate = {data.slices[number].group for number in parts.gate}
    assert not gate & {data.slices[number].group for number in parts.train}, "whole images are held out"


def test_nothing_labelled(a_model):
    volume, labels = labelled_volume()
    data = slices_of_collection(new_collection(volume, labels, [0, 15], a_model, "k", WINDOW))
    assert data.segments == ()
    with pytest.raises(InputError, match="At least two slices"):
        split(data)
