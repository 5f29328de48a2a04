import numpy as np
import pytest

from SAMFinetuneLogic.errors import GeometryError, InputError, ModelError
from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportModel, add_slices, check_model, merge
from SAMFinetuneLogic.fewshot.labelling import label_slices, new_collection, reencode, slices_to_label
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.preview import collection_picture
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window

WINDOW = Window(0.0, 200.0, "full")


def test_slices_hold_turned_pixels_labels_and_the_models_embedding(a_collection, a_case, a_model):
    volume, labels = a_case
    entry = a_collection.slices[1]
    # A RAS volume seen from the feet: columns and rows both run the other way.
    np.testing.assert_array_equal(entry.labels, labels.voxels[3, ::-1, ::-1])
    np.testing.assert_array_equal(entry.pixels, WINDOW.to_uint8(volume.voxels[3, ::-1, ::-1]))
    assert entry.embedding.shape == a_model.embedding_shape
    assert a_collection.plane == "axial" and a_collection.window_name == "full"


def test_the_same_anatomy_in_another_voxel_order_gives_the_same_slice(a_case, a_stock_model):
    volume, labels = a_case
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = volume.shape[2] - 1
    moved = volume.ijk_to_ras @ flip
    twin = Volume(volume.voxels[:, :, ::-1], moved, name="twin")
    twin_labels = LabelMap(labels.voxels[:, :, ::-1], moved, labels.segments)
    one = new_collection(volume, labels, [3], a_stock_model, window=WINDOW).slices[0]
    other = new_collection(twin, twin_labels, [3], a_stock_model, window=WINDOW).slices[0]
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.embedding, other.embedding)


@pytest.mark.parametrize("axis", ["i", "j", "k"])
def test_restore_undoes_turn(a_case, axis):
    volume, _ = a_case
    plane = Plane.of(volume, axis, WINDOW)
    pixels = np.arange(np.prod(volume.slice_shape(axis))).reshape(volume.slice_shape(axis))
    np.testing.assert_array_equal(plane.restore(plane.turn(pixels)), pixels)
    stacked = np.stack([plane.turn(pixels), plane.turn(2 * pixels)])
    np.testing.assert_array_equal(plane.restore(stacked)[1], 2 * pixels)


def test_a_slice_added_again_replaces_the_earlier_one(a_collection, a_case, a_model):
    volume, labels = a_case
    emptied = LabelMap(np.zeros_like(labels.voxels), labels.ijk_to_ras, labels.segments)
    again = label_slices(Plane.of(volume, "k", WINDOW), emptied, [3], a_model)
    result = add_slices(a_collection, labels.segments, again)
    assert len(result.slices) == 3
    assert not result.slices[1].labels.any()
    assert len(result.labelled(1)) == 2


def test_classes_are_matched_by_name_and_get_a_free_value(a_collection, a_case, a_model):
    volume, labels = a_case
    renamed = LabelMap(labels.voxels, labels.ijk_to_ras, (Segment(1, "rod", (0, 0, 1)), Segment(4, "ball", (1, 0, 0))))
    added = label_slices(Plane.of(volume, "k", WINDOW), renamed, [6], a_model)
    result = add_slices(a_collection, renamed.segments, added)
    assert {segment.value: segment.name for segment in result.classes} == {1: "ball", 2: "rod", 4: "bar"}
    mine = result.slices[-1].labels
    np.testing.assert_array_equal(mine == 1, added[0].labels == 4)
    np.testing.assert_array_equal(mine == 2, added[0].labels == 1)


def test_merge_joins_and_refuses_another_model(a_case, a_stock_model, a_compact_model):
    first = new_collection(*a_case, indices=[1, 3], model=a_stock_model, window=WINDOW)
    second = new_collection(*a_case, indices=[3, 5], model=a_stock_model, window=WINDOW)
    assert [entry.slice.index for entry in merge(first, second).slices] == [1, 3, 5]
    other = new_collection(*a_case, indices=[3], model=a_compact_model, window=WINDOW)
    with pytest.raises(ModelError, match="different models"):
        merge(first, other)


def test_another_model_is_refused_until_the_slices_are_encoded_again(a_case, a_stock_model, a_compact_model):
    collection = new_collection(*a_case, indices=[3], model=a_stock_model, window=WINDOW)
    check_model(collection, a_stock_model)
    with pytest.raises(ModelError, match="encode the collection again"):
        check_model(collection, a_compact_model)
    again = reencode(collection, a_compact_model)
    check_model(again, a_compact_model)
    direct = new_collection(*a_case, indices=[3], model=a_compact_model, window=WINDOW)
    np.testing.assert_array_equal(again.slices[0].embedding, direct.slices[0].embedding)


def test_labels_without_a_class_and_other_grids_are_refused(a_collection, a_case, a_model):
    with pytest.raises(InputError, match="has no class"):
        SupportCollection(a_collection.model, a_collection.classes[:1], a_collection.slices)
    with pytest.raises(InputError, match="has no class"):
        add_slices(SupportCollection(SupportModel.of(a_model)), a_collection.classes[:1], a_collection.slices)
    volume, labels = a_case
    shifted = labels.ijk_to_ras.copy()
    shifted[0, 3] = 5
    with pytest.raises(GeometryError, match="another grid"):
        label_slices(Plane.of(volume, "k", WINDOW), LabelMap(labels.voxels, shifted), [3], a_model)


def test_default_slices_are_spread_over_those_with_labels():
    voxels = np.zeros((30, 4, 4), dtype=np.uint8)
    labels = LabelMap(voxels, np.eye(4))
    with pytest.raises(InputError, match="Nothing is labelled"):
        slices_to_label(labels, "k")
    voxels = voxels.copy()
    voxels[10:21, 1, 1] = 1
    assert slices_to_label(LabelMap(voxels, np.eye(4)), "k", 3) == [12, 15, 18]
    assert slices_to_label(LabelMap(voxels, np.eye(4)), "k", 20) == list(range(10, 21))


def test_the_picture_shows_every_slice(a_collection):
    page = collection_picture(a_collection)
    few = collection_picture(a_collection.without(a_collection.slices[1:]))
    assert page.width > 2 * few.width
    reds = np.asarray(few).astype(int)
    assert ((reds[..., 0] > 180) & (reds[..., 1] < 90)).any()  # the ball's contour
