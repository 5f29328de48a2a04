"""Annotated slices: what was said is remembered, through hand edits, undo, saving and other grids."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.errors import GeometryError, InputError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import SliceIndex  # noqa: E402
from SAMFinetuneLogic.mrml.annotated import (  # noqa: E402
    TAG,
    annotated_slices,
    annotations_of,
    mark_annotated,
    touch,
    unmark_annotated,
)
from SAMFinetuneLogic.mrml.editing import SegmentWriter  # noqa: E402
from SAMFinetuneLogic.mrml.hand_edits import HandEdits  # noqa: E402
from SAMFinetuneLogic.mrml.images import oriented_image  # noqa: E402
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation, segment_mask  # noqa: E402
from SAMFinetuneLogic.mrml.training import training_labels  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402

RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SLICES = st.sets(
    st.one_of(
        st.builds(SliceIndex, st.just("k"), st.integers(0, 5)),
        st.builds(SliceIndex, st.just("j"), st.integers(0, 7)),
        st.builds(SliceIndex, st.just("i"), st.integers(0, 9)),
    ),
    max_size=8,
)


@pytest.fixture
def a_segmentation(a_scene, a_volume_node):
    node = add_segmentation(a_scene, a_volume_node, read_volume(a_volume_node).volume)
    add_segment(node, "liver")
    add_segment(node, "spleen")
    return node


@pytest.fixture
def ids(a_segmentation):
    return list(a_segmentation.GetSegmentation().GetSegmentIDs())


@RELAXED
@given(steps=st.lists(st.tuples(st.booleans(), SLICES), max_size=6))
def test_marks_are_a_set(steps, new_scene, add_volume_node):
    scene = new_scene()
    volume_node = add_volume_node(scene, np.zeros((6, 8, 10), np.uint8), np.diag([1.1, 2.2, 3.3, 1]))
    volume = read_volume(volume_node).volume
    node = add_segmentation(scene, volume_node, volume)
    liver, spleen = add_segment(node), add_segment(node)
    expected: set[SliceIndex] = set()
    for added, slices in steps:
        (mark_annotated if added else unmark_annotated)(node, [liver], volume, slices)
        expected = expected | slices if added else expected - slices
        touch(node, [liver, spleen])
        assert annotations_of(node, liver, volume) == expected
        for axis in "ijk":
            wanted = tuple(sorted(s.index for s in expected if s.axis == axis))
            assert annotated_slices(node, liver, volume, axis) == wanted
    assert annotations_of(node, spleen, volume) == frozenset()


@pytest.mark.parametrize("left_handed", [False, True])
def test_marks_are_saved_with_the_scene(left_handed, a_scene, a_volume_node, reopened, add_linear_transform):
    if not left_handed:
        a_volume_node.SetIJKToRASDirections(0, 0, -1, 1, 0, 0, 0, -1, 0)
    moved = np.array([[0.2, 0.9, 0, 4], [1 / 3, 0, 1, -7], [0, 0.1, 2, 100], [0, 0, 0, 1]])
    a_volume_node.SetAndObserveTransformNodeID(add_linear_transform(a_scene, moved).GetID())
    volume = read_volume(a_volume_node).volume
    segmentation = add_segmentation(a_scene, a_volume_node, volume)
    ids = [add_segment(segmentation, "liver"), add_segment(segmentation, "spleen")]
    slices = {SliceIndex("k", 0), SliceIndex("k", 5), SliceIndex("i", 9)}
    mark_annotated(segmentation, ids, volume, slices)
    SegmentWriter(segmentation, a_volume_node, volume).write_slice(ids[0], SliceIndex("k", 2), np.ones((8, 10)))

    scene = reopened(a_scene)

    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    again = read_volume(scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")).volume
    # Slicer reads left-handed volumes with their slices in the other order.
    slices = {SliceIndex("k", 5 - s.index) if left_handed and s.axis == "k" else s for s in slices}
    drawn = 3 if left_handed else 2
    assert annotations_of(node, ids[0], again) == slices | {SliceIndex("k", drawn)}
    assert annotations_of(node, ids[1], again) == slices
    assert segment_mask(node, ids[0], again)[drawn].all()
    mark_annotated(node, ids[:1], again, [SliceIndex("k", drawn - 1)])
    assert annotations_of(node, ids[0], again) == slices | {SliceIndex("k", drawn), SliceIndex("k", drawn - 1)}


def test_marks_belong_to_the_grid_on_which_they_were_made(a_scene, a_volume_node, a_segmentation, ids, add_volume_node):
    volume = read_volume(a_volume_node).volume
    other = read_volume(add_volume_node(a_scene, np.zeros((6, 8, 10), np.uint8), np.diag([1.0, 1, 2, 1]))).volume
    mark_annotated(a_segmentation, ids[:1], volume, [SliceIndex("k", 1)])
    assert annotations_of(a_segmentation, ids[0], other) == frozenset()
    mark_annotated(a_segmentation, ids[:1], other, [SliceIndex("k", 4)])
    assert annotated_slices(a_segmentation, ids[0], volume, "k") == (1,)
    assert annotated_slices(a_segmentation, ids[0], other, "k") == (4,)


def test_moving_volume_and_segmentation_together_changes_nothing(
    a_scene, a_volume_node, a_segmentation, ids, add_linear_transform
):
    mark_annotated(a_segmentation, ids, read_volume(a_volume_node).volume, [SliceIndex("k", 1)])
    parent = add_linear_transform(a_scene, np.array([[0, 1, 0, 5], [-1, 0, 0, 5], [0, 0, 1, 5.0], [0, 0, 0, 1]]))
    a_volume_node.SetAndObserveTransformNodeID(parent.GetID())
    assert annotated_slices(a_segmentation, ids[0], read_volume(a_volume_node).volume, "k") == ()
    a_segmentation.SetAndObserveTransformNodeID(parent.GetID())
    assert annotated_slices(a_segmentation, ids[0], read_volume(a_volume_node).volume, "k") == (1,)


def test_a_slice_outside_is_refused(a_volume_node, a_segmentation, ids):
    with pytest.raises(GeometryError, match="outside"):
        mark_annotated(a_segmentation, ids, read_volume(a_volume_node).volume, [SliceIndex("k", 6)])


@pytest.mark.parametrize("text", ["", "x", "&&&", "a&10x8;1 2;k=1", "a&1x1x1;nan 0 0 0 0 0 0 0 0 0 0 0;k=1", "a&b;c;k"])
def test_a_damaged_memory_is_no_memory(text, a_volume_node, a_segmentation, ids):
    a_segmentation.GetSegmentation().GetSegment(ids[0]).SetTag(TAG, text)
    volume = read_volume(a_volume_node).volume
    assert annotations_of(a_segmentation, ids[0], volume) == frozenset()
    mark_annotated(a_segmentation, ids[:1], volume, [SliceIndex("j", 7)])
    assert annotated_slices(a_segmentation, ids[0], volume, "j") == (7,)


# Hand edits


class Widget:
    """The Segment Editor as a user drives it: another logic, with its own undo, on the same editor node."""

    def __init__(self, node, volume_node, volume):
        self.node, self.volume = node, volume
        self.editor = node.GetScene().AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(node.GetScene())
        self.logic.SetSegmentEditorNode(self.editor)
        self.logic.SetSegmentationNode(node)
        self.logic.SetSourceVolumeNode(volume_node)

    def paint(self, segment_id, where, erase=False):
        mask = np.zeros(self.volume.shape, bool)
        mask[where] = True
        self.logic.SaveStateForUndo()
        mode = self.logic.ModificationModeRemove if erase else self.logic.ModificationModeAdd
        image = oriented_image(mask, self.volume.ijk_to_ras)
        self.logic.ModifySegmentByLabelmap(self.node, segment_id, image, mode, False, False)


@pytest.fixture
def a_desk(a_volume_node, a_segmentation):
    """Widget, writer with the widget's undo, and the watch over hand edits."""
    volume = read_volume(a_volume_node).volume
    widget = Widget(a_segmentation, a_volume_node, volume)
    writer = SegmentWriter(
        a_segmentation, a_volume_node, volume, editor_node=widget.editor, save_state=widget.logic.SaveStateForUndo
    )
    return widget, writer, HandEdits(a_segmentation, volume, lambda: "k")


def test_drawing_marks_the_slice_drawn_on(a_desk, ids):
    widget, _, edits = a_desk
    widget.paint(ids[0], np.s_[2, 3:6, 3:7])
    assert edits.collect(ids[0]) == (SliceIndex("k", 2),)
    assert edits.collect(ids[0]) == ()
    widget.paint(ids[0], np.s_[1:5, 4, 2:8])  # in a coronal view
    assert edits.collect(ids[0]) == (SliceIndex("j", 4),)
    widget.paint(ids[0], np.s_[2, 3:6, 3:5], erase=True)
    assert edits.collect(ids[0]) == (SliceIndex("k", 2),)
    widget.paint(ids[0], np.s_[5, 7, 9])  # a single voxel: on the working axis
    assert edits.collect(ids[0]) == (SliceIndex("k", 5),)
    assert annotated_slices(widget.node, ids[0], widget.volume, "k") == (2, 5)
    assert annotated_slices(widget.node, ids[0], widget.volume, "j") == (4,)


def test_a_stroke_over_another_segment_marks_the_one_that_was_drawn(a_desk, ids):
    widget, _, edits = a_desk
    widget.paint(ids[1], np.s_[1, :, :])
    edits.collect(ids[1])
    widget.paint(ids[0], np.s_[1, 2:4, 2:4])
    assert edits.collect(ids[0]) == (SliceIndex("k", 1),)
    widget.paint(ids[0], np.s_[3, 2:4, 2:4])
    assert edits.collect(ids[1]) == ()


def test_an_edit_of_the_whole_volume_is_no_drawing(a_desk, ids):
    widget, _, edits = a_desk
    widget.paint(ids[0], np.s_[:, :, :])
    assert edits.collect(ids[0]) == ()


def test_own_writes_undo_and_redo_are_no_drawings(a_desk, ids):
    widget, writer, edits = a_desk
    writer.write_slices({ids[0]: {2: np.ones((8, 10))}, ids[1]: {3: np.ones((8, 10))}}, "k", annotated=False)
    assert edits.collect(ids[0]) == edits.collect(ids[1]) == ()
    widget.logic.Undo()
    assert edits.collect(ids[0]) == ()
    widget.logic.Redo()
    assert edits.collect(ids[0]) == ()
    assert annotated_slices(widget.node, ids[0], widget.volume, "k") == ()


def test_undo_takes_a_drawing_and_its_mark_back_together(a_desk, ids):
    widget, _, edits = a_desk
    widget.paint(ids[0], np.s_[2, 3:6, 3:7])
    edits.collect(ids[0])
    widget.paint(ids[0], np.s_[4, 3:6, 3:7])
    edits.collect(ids[0])
    widget.logic.Undo()
    assert edits.collect(ids[0]) == ()
    assert annotated_slices(widget.node, ids[0], widget.volume, "k") == (2,)
    widget.logic.Undo()
    assert edits.collect(ids[0]) == ()
    assert annotated_slices(widget.node, ids[0], widget.volume, "k") == ()
    widget.logic.Redo()
    assert edits.collect(ids[0]) == ()


def test_segments_may_come_and_go(a_desk, ids):
    widget, _, edits = a_desk
    new = add_segment(widget.node, "new")
    widget.paint(new, np.s_[2, 3:6, 3:7])
    assert edits.collect(new) == (SliceIndex("k", 2),)
    widget.node.GetSegmentation().RemoveSegment(new)
    assert edits.collect(new) == ()


# Training labels


def test_training_takes_slices_known_for_all_and_negatives(a_volume_node, a_segmentation, ids):
    volume = read_volume(a_volume_node).volume
    writer = SegmentWriter(a_segmentation, a_volume_node, volume)
    masks = {n: np.random.default_rng(n).random((8, 10)) < 0.3 for n in range(5)}
    writer.write_slices({ids[0]: masks}, "k", annotated=False)
    mark_annotated(a_segmentation, ids[:1], volume, [SliceIndex("k", n) for n in (0, 3, 4, 5)])
    mark_annotated(a_segmentation, ids[1:], volume, [SliceIndex("k", n) for n in (0, 4, 5)])
    writer.write_slice(ids[1], SliceIndex("k", 4), masks[1])

    found = training_labels(a_segmentation, volume, "k")

    assert found.indices == (0, 4, 5)
    assert found.known == {ids[0]: (0, 3, 4, 5), ids[1]: (0, 4, 5)}
    assert "Slices 3 are" in found.notices[-1]
    np.testing.assert_array_equal(found.labels.voxels[4] == found.values[ids[1]], masks[1])


def test_only_segments_with_annotations_count_unless_asked_for(a_volume_node, a_segmentation, ids):
    volume = read_volume(a_volume_node).volume
    writer = SegmentWriter(a_segmentation, a_volume_node, volume)
    with pytest.raises(InputError, match="annotated"):
        training_labels(a_segmentation, volume, "k")
    writer.write_slice(ids[0], SliceIndex("k", 2), np.ones((8, 10)))
    found = training_labels(a_segmentation, volume, "k")
    assert (list(found.known), found.indices, found.notices) == ([ids[0]], (2,), ())
    assert training_labels(a_segmentation, volume, "k", ids).indices == ()
    with pytest.raises(InputError, match="annotated"):
        training_labels(a_segmentation, volume, "j")
