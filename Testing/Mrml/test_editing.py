"""Writing masks into segments, against the rules of the Segment Editor written out in numpy."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrml_masks import in_volume, on_slice, random_mask

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")
vtk = pytest.importorskip("vtk")

from SAMFinetuneLogic.errors import GeometryError, InputError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis  # noqa: E402
from SAMFinetuneLogic.mrml.annotated import annotated_slices, tag_text  # noqa: E402
from SAMFinetuneLogic.mrml.editing import UNDO_LEVELS, SegmentWriter  # noqa: E402
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation, segment_mask, slice_mask  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402

RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

MASK_MODES = (
    "EditAllowedEverywhere",
    "EditAllowedInsideAllSegments",
    "EditAllowedInsideVisibleSegments",
    "EditAllowedOutsideAllSegments",
    "EditAllowedOutsideVisibleSegments",
    "EditAllowedInsideSingleSegment",
)
OVERWRITE_MODES = ("OverwriteAllSegments", "OverwriteVisibleSegments", "OverwriteNone")


@dataclass
class Bench:
    """A volume with a segmentation of three segments, and a writer."""

    volume_node: object
    volume: object
    node: object
    ids: list
    writer: SegmentWriter

    def mask(self, n):
        return segment_mask(self.node, self.ids[n], self.volume)

    def masks(self):
        return [self.mask(n) for n in range(len(self.ids))]


@pytest.fixture
def new_bench(new_scene, add_volume_node):
    def make(matrix=None, **keywords):
        scene = new_scene()
        voxels = np.random.default_rng(0).integers(0, 100, (5, 6, 7)).astype(np.int16)
        default = np.array([[0, 0.3, 2.0, 5], [1.5, 0, 0, -3], [0.1, -1, 0, 7], [0, 0, 0, 1]])
        volume_node = add_volume_node(scene, voxels, default if matrix is None else matrix)
        volume = read_volume(volume_node).volume
        node = add_segmentation(scene, volume_node, volume)
        ids = [add_segment(node, name) for name in ("liver", "spleen", "stomach")]
        return Bench(volume_node, volume, node, ids, SegmentWriter(node, volume_node, volume, **keywords))

    return make


@pytest.fixture
def a_bench(new_bench):
    return new_bench()


@dataclass
class Rules:
    """The Segment Editor's documented rules for segments 0, 1, 2."""

    values: np.ndarray
    mode: str = "EditAllowedEverywhere"
    inside: int = 0
    overwrite: str = "OverwriteAllSegments"
    intensities: tuple | None = None
    visible: tuple = (True, True, True)
    masks: list = field(default_factory=list)

    def editable(self, n):
        anywhere = np.logical_or.reduce(self.masks)
        seen = np.logical_or.reduce(
            [m for m, v in zip(self.masks, self.visible, strict=True) if v] or [anywhere & False]
        )
        # Painting outside of all other segments: what the segment has itself may be edited.
        others = np.logical_or.reduce([m for other, m in enumerate(self.masks) if other != n])
        seen_others = np.logical_or.reduce(
            [m for other, m in enumerate(self.masks) if other != n and self.visible[other]] or [anywhere & False]
        )
        area = {
            "EditAllowedEverywhere": np.ones_like(anywhere),
            "EditAllowedInsideAllSegments": anywhere,
            "EditAllowedInsideVisibleSegments": seen,
            "EditAllowedOutsideAllSegments": ~others,
            "EditAllowedOutsideVisibleSegments": ~seen_others,
            "EditAllowedInsideSingleSegment": self.masks[self.inside],
        }[self.mode]
        if self.intensities is not None:
            area = area & (self.values >= self.intensities[0]) & (self.values <= self.intensities[1])
        return area

    def write(self, n, area, wanted):
        """Make ``wanted`` the content of ``area``."""
        added, removed = area & wanted & ~self.masks[n], area & ~wanted & self.masks[n]
        self.remove(n, removed)
        added &= self.editable(n)
        if added.any():
            self.masks[n] = self.masks[n] | added
            for other in range(3):
                taken = self.overwrite == "OverwriteAllSegments" or (
                    self.overwrite == "OverwriteVisibleSegments" and self.visible[other]
                )
                if other != n and taken:
                    self.masks[other] = self.masks[other] & ~added

    def remove(self, n, removed):
        if self.mode == "EditAllowedInsideSingleSegment":
            # Erasing inside of one segment gives the voxels back to it.
            area = self.editable(n) | self.masks[n]
            removed = removed & area
            self.masks[n] = self.masks[n] & ~removed
            if n != self.inside:
                self.masks[self.inside] = self.masks[self.inside] | removed
            return
        self.masks[n] = self.masks[n] & ~(removed & self.editable(n))


def test_a_slice_becomes_the_mask_and_nothing_else_changes(a_bench):
    whole = np.zeros(a_bench.volume.shape, bool)
    for number, s in enumerate([SliceIndex("k", 2), SliceIndex("j", 0), SliceIndex("i", 6), SliceIndex("k", 2)]):
        mask = random_mask(number, a_bench.volume.slice_shape(s.axis))
        before = whole.copy()
        np.moveaxis(whole, array_axis(s.axis), 0)[s.index] = mask
        written = a_bench.writer.write_slice(a_bench.ids[0], s, mask)
        np.testing.assert_array_equal(a_bench.mask(0), whole)
        np.testing.assert_array_equal(slice_mask(a_bench.node, a_bench.ids[0], a_bench.volume, s), mask)
        assert written.changed == (before != whole).sum()
        assert (written.refused, written.notice) == (0, None)
        assert not a_bench.mask(1).any()


@RELAXED
@given(
    mode=st.sampled_from(MASK_MODES),
    overwrite=st.sampled_from(OVERWRITE_MODES),
    inside=st.integers(0, 2),
    intensities=st.none() | st.tuples(st.integers(0, 50), st.integers(50, 99)),
    visible=st.tuples(*[st.booleans()] * 3),
    separate=st.booleans(),
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("ijk"), st.integers(0, 4), st.integers(0, 99)),
        min_size=1,
        max_size=4,
    ),
)
def test_masking_overwriting_and_undo_follow_the_rules(
    mode, overwrite, inside, intensities, visible, separate, steps, new_bench
):
    bench = new_bench()
    writer, volume = bench.writer, bench.volume
    # Something is there first: without rules, in one shared labelmap or, overlapping, in several.
    writer.editor_node.SetOverwriteMode(writer.editor_node.OverwriteNone if separate else 0)
    for n in range(3):
        blocks = {index: random_mask(10 * n + index, (6, 7), 0.35) for index in range(5)}
        writer.write_slices({bench.ids[n]: blocks}, "k")
    assert bench.node.GetSegmentation().GetNumberOfLayers() == (3 if separate else 1)
    display = bench.node.GetDisplayNode()
    for segment_id, shown in zip(bench.ids, visible, strict=True):
        display.SetSegmentVisibility(segment_id, shown)
    editor = writer.editor_node
    editor.SetMaskMode(getattr(slicer.vtkMRMLSegmentationNode, mode))
    editor.SetMaskSegmentID(bench.ids[inside])
    editor.SetOverwriteMode(getattr(editor, overwrite))
    if intensities:
        editor.SetSourceVolumeIntensityMask(True)
        editor.SetSourceVolumeIntensityMaskRange(*intensities)
    rules = Rules(volume.voxels, mode, inside, overwrite, intensities, visible, bench.masks())
    history = [bench.masks()]

    for n, axis, index, seed in steps:
        s = SliceIndex(axis, index)
        mask = random_mask(seed, volume.slice_shape(axis))
        asked = int((slice_mask(bench.node, bench.ids[n], volume, s) != mask).sum())
        before = bench.mask(n)
        rules.write(n, on_slice(volume, s), in_volume(volume, s, mask))
        written = writer.write_slice(bench.ids[n], s, mask)
        for other in range(3):
            np.testing.assert_array_equal(bench.mask(other), rules.masks[other], err_msg=f"segment {other}")
        assert written.changed == int((before != bench.mask(n)).sum())
        assert written.refused == asked - written.changed
        if asked:
            history.append(bench.masks())

    for expected in reversed(history[:-1]):
        writer.undo()
        for n in range(3):
            np.testing.assert_array_equal(bench.mask(n), expected[n])
    for expected in history[1:]:
        writer.redo()
        for n in range(3):
            np.testing.assert_array_equal(bench.mask(n), expected[n])
    assert not writer.can_redo


def test_several_levels_of_undo(a_bench):
    states = []
    for number in range(UNDO_LEVELS + 3):
        states.append(a_bench.mask(0))
        a_bench.writer.write_slice(a_bench.ids[0], SliceIndex("k", 1), random_mask(number, (6, 7)))
    for expected in reversed(states[-UNDO_LEVELS:]):
        assert a_bench.writer.can_undo
        a_bench.writer.undo()
        np.testing.assert_array_equal(a_bench.mask(0), expected)
    assert not a_bench.writer.can_undo


def test_many_slices_of_many_segments_are_one_step(a_bench):
    writer, ids = a_bench.writer, a_bench.ids
    masks = {ids[0]: {0: random_mask(0, (6, 7)), 3: random_mask(1, (6, 7))}, ids[1]: {4: random_mask(2, (6, 7))}}
    writer.write_slice(ids[0], SliceIndex("k", 2), np.ones((6, 7)))
    before = a_bench.masks()
    writer.write_slices(masks, "k")
    liver = before[0].copy()
    liver[0], liver[3] = masks[ids[0]][0], masks[ids[0]][3]
    np.testing.assert_array_equal(a_bench.mask(0), liver)
    assert a_bench.mask(1)[4].sum() == masks[ids[1]][4].sum()
    writer.undo()
    for mask, expected in zip(a_bench.masks(), before, strict=True):
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("in_steps", [False, True])
def test_of_several_segments_the_later_one_has_a_voxel_that_both_are_given(in_steps, a_bench):
    writer, ids = a_bench.writer, a_bench.ids
    writer.write_slices({ids[1]: {2: np.ones((6, 7))}}, "k")
    rng = np.random.default_rng(0)
    first, second = rng.random((6, 7)) < 0.6, rng.random((6, 7)) < 0.6
    for order in ((0, 1), (1, 0)):
        masks = {ids[order[0]]: {2: first}, ids[order[1]]: {2: second}}
        if in_steps:
            list(writer.write_in_steps(masks, "k"))
        else:
            writer.write_slices(masks, "k")
        np.testing.assert_array_equal(a_bench.mask(order[0])[2], first & ~second)
        np.testing.assert_array_equal(a_bench.mask(order[1])[2], second)


def test_only_segments_that_may_have_changed_get_another_revision(a_bench):
    writer, ids = a_bench.writer, a_bench.ids
    for n in range(3):
        writer.write_slice(ids[n], SliceIndex("k", n), np.ones((6, 7)))
    before = [tag_text(a_bench.node, n) for n in ids]
    writer.write_slice(ids[0], SliceIndex("k", 1), np.eye(6, 7))
    after = [tag_text(a_bench.node, n) for n in ids]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_in_steps_it_is_the_same_and_one_undo(new_bench):
    rng = np.random.default_rng(0)
    together, stepwise = new_bench(), new_bench()
    masks = [
        {index: rng.random((6, 7)) < 0.5 for index in range(5)},
        {index: rng.random((6, 7)) < 0.5 for index in (1, 4)},
    ]

    def named(bench):
        return dict(zip(bench.ids, masks, strict=False))

    for bench in (together, stepwise):
        bench.writer.editor_node.SetOverwriteMode(bench.writer.editor_node.OverwriteNone)
        bench.writer.write_slice(bench.ids[0], SliceIndex("k", 3), np.ones((6, 7)))
    before = stepwise.masks()
    expected = together.writer.write_slices(named(together), "k")
    steps = list(stepwise.writer.write_in_steps(named(stepwise), "k", count=2))
    assert [(done, total) for done, total, _ in steps] == [(2, 7), (4, 7), (6, 7), (7, 7)]
    assert steps[-1][2] == expected and expected.saved
    assert not together.writer.write_slices(named(together), "k").saved  # nothing to change, and nothing to undo
    for mine, theirs in zip(stepwise.masks(), together.masks(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    stepwise.writer.undo()
    for mine, theirs in zip(stepwise.masks(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_steps_check_everything_first(a_bench):
    masks = {a_bench.ids[0]: {0: np.ones((6, 7)), 4: np.ones((2, 2))}}
    with pytest.raises(InputError, match="pixels"):
        list(a_bench.writer.write_in_steps(masks, "k", count=1))
    assert not a_bench.mask(0).any()


def test_undo_in_the_user_interface_is_the_widget_s(new_bench):
    saved = []
    bench = new_bench(save_state=lambda: saved.append(len(saved)))
    bench.writer.write_slice(bench.ids[0], SliceIndex("k", 1), np.ones((6, 7)))
    bench.writer.write_slice(bench.ids[0], SliceIndex("k", 1), np.ones((6, 7)))  # nothing to change: no step
    bench.writer.write_slices({n: {2: np.ones((6, 7))} for n in bench.ids}, "k")
    assert saved == [0, 1]
    assert not bench.writer.can_undo


def test_the_user_s_editor_node_keeps_its_settings(new_bench, new_scene):
    bench = new_bench()
    scene = bench.node.GetScene()
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(bench.node)
    editor.SetAndObserveSourceVolumeNode(bench.volume_node)
    editor.SetSelectedSegmentID(bench.ids[2])
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    writer = SegmentWriter(bench.node, bench.volume_node, bench.volume, editor_node=editor)
    writer.write_slice(bench.ids[0], SliceIndex("k", 1), np.ones((6, 7)))
    assert editor.GetSelectedSegmentID() == bench.ids[2]
    assert editor.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments
    writer.close()
    assert editor.GetScene() is scene


def test_an_own_editor_node_is_hidden_unsaved_and_removed(a_bench):
    editor = a_bench.writer.editor_node
    assert editor.GetHideFromEditors()
    assert not editor.GetSaveWithScene()
    a_bench.writer.close()
    assert editor.GetScene() is None


def test_labelmaps_stay_as_small_as_what_they_hold(a_bench):
    mask = np.zeros((6, 7), bool)
    mask[2:4, 3:6] = True
    a_bench.writer.write_slice(a_bench.ids[0], SliceIndex("k", 1), mask)
    labelmap = slicer.vtkOrientedImageData()
    a_bench.node.GetBinaryLabelmapRepresentation(a_bench.ids[0], labelmap)
    assert labelmap.GetExtent() == (3, 5, 2, 3, 1, 1)


def test_shared_labelmaps_keep_their_values(a_bench):
    for n in range(3):
        a_bench.writer.write_slice(a_bench.ids[n], SliceIndex("k", n), np.ones((6, 7)))
    segmentation = a_bench.node.GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 1
    assert len({segmentation.GetSegment(i).GetLabelValue() for i in a_bench.ids}) == 3
    for n in range(3):
        np.testing.assert_array_equal(a_bench.mask(n), on_slice(a_bench.volume, SliceIndex("k", n)))


def test_what_a_write_is_told_is_remembered_and_undone(a_bench):
    node, volume, liver, writer = a_bench.node, a_bench.volume, a_bench.ids[0], a_bench.writer
    writer.write_slice(liver, SliceIndex("k", 1), np.ones((6, 7)))
    writer.write_slices({liver: {2: np.ones((6, 7)), 3: np.ones((6, 7))}}, "k", annotated=False)
    assert annotated_slices(node, liver, volume, "k") == (1,)
    writer.write_slice(liver, SliceIndex("k", 3), np.ones((6, 7)))  # confirmed as it is
    assert annotated_slices(node, liver, volume, "k") == (1, 3)
    writer.write_slices({liver: {1: np.eye(6, 7)}}, "k", annotated=False)
    assert annotated_slices(node, liver, volume, "k") == (3,)
    writer.undo()
    assert annotated_slices(node, liver, volume, "k") == (1, 3)
    writer.undo()
    assert annotated_slices(node, liver, volume, "k") == (1,)
    writer.undo()
    assert annotated_slices(node, liver, volume, "k") == ()
    assert tag_text(node, liver) == ""


def test_a_negative_can_be_written(a_bench):
    written = a_bench.writer.write_slice(a_bench.ids[0], SliceIndex("k", 4), np.zeros((6, 7)))
    assert written.changed == 0
    assert annotated_slices(a_bench.node, a_bench.ids[0], a_bench.volume, "k") == (4,)


def test_wrong_requests_say_so_and_write_nothing(a_bench):
    writer, liver = a_bench.writer, a_bench.ids[0]
    with pytest.raises(InputError, match="pixels"):
        writer.write_slice(liver, SliceIndex("k", 1), np.ones((3, 3)))
    with pytest.raises(GeometryError, match="outside"):
        writer.write_slice(liver, SliceIndex("k", 5), np.ones((6, 7)))
    with pytest.raises(InputError, match="no segment"):
        writer.write_slices({liver: {1: np.ones((6, 7))}, "gone": {1: np.ones((6, 7))}}, "k")
    assert not a_bench.mask(0).any()
    assert not writer.can_undo


def test_a_segmentation_under_a_bend_is_refused(a_bench, add_bend):
    bend = add_bend(a_bench.node.GetScene())
    a_bench.node.SetAndObserveTransformNodeID(bend.GetID())
    with pytest.raises(GeometryError, match="harden"):
        a_bench.writer.write_slice(a_bench.ids[0], SliceIndex("k", 1), np.ones((6, 7)))


def test_surfaces_are_refused(a_bench):
    a_bench.writer.write_slices({a_bench.ids[0]: dict(enumerate(np.ones((5, 6, 7))))}, "k")
    a_bench.node.CreateClosedSurfaceRepresentation()
    segmentation = a_bench.node.GetSegmentation()
    segmentation.SetSourceRepresentationName(slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName())
    a_bench.node.RemoveBinaryLabelmapRepresentation()
    with pytest.raises(InputError, match="surfaces"):
        a_bench.writer.write_slice(a_bench.ids[0], SliceIndex("k", 1), np.ones((6, 7)))
