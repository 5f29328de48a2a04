"""Which slice a prompt belongs to and where it lies on it, against brute force over all voxels."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.placement import (
    STROKE_LOGIT,
    box_voxels,
    flat_axis,
    prompts_on_slice,
    slices_of,
)
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt

SHAPE = (7, 9, 11)  # k, j, i


@st.composite
def volumes(draw):
    spacing = [draw(st.floats(0.3, 6)) for _ in range(3)]
    flips = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    order = draw(st.permutations(range(3)))
    turn = Rotation.from_euler("xyz", [draw(st.floats(-60, 60)) for _ in range(3)], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, order] @ np.diag(np.array(spacing) * flips)
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return Volume(np.zeros(SHAPE), affine)


voxels = st.tuples(st.integers(0, 10), st.integers(0, 8), st.integers(0, 6))


def ras(volume, *ijk):
    return tuple(tuple(point) for point in volume.to_ras(np.array(ijk, dtype=float)).tolist())


@given(volumes(), voxels, st.tuples(*[st.floats(-0.49, 0.49)] * 3))
def test_a_point_belongs_to_one_slice_of_each_axis_and_lies_where_the_voxel_is(volume, voxel, offset):
    marked = np.zeros(SHAPE)
    marked[voxel[::-1]] = 1
    marked = Volume(marked, volume.ijk_to_ras)
    prompt = PointPrompt(ras(volume, np.add(voxel, offset))[0])
    for axis in "ijk":
        (index,) = slices_of(volume, prompt, axis)
        here = prompts_on_slice(volume, [prompt], SliceIndex(axis, index))
        row, col = np.floor(here.points[0] + 0.5).astype(int)
        assert marked.slice_pixels(SliceIndex(axis, index))[row, col] == 1
        other = (index + 1) % volume.slice_count(axis)
        assert prompts_on_slice(volume, [prompt], SliceIndex(axis, other)).empty


def test_ties_between_slices_go_up():
    volume = Volume(np.zeros((6, 6, 6)), np.eye(4))
    for k in (0.5, 1.5, 2.5, 3.5):
        assert slices_of(volume, PointPrompt((0, 0, k)), "k") == (int(k + 0.5),)


@settings(max_examples=50)
@given(volumes(), voxels, voxels)
def test_corners_at_voxel_centres_give_those_voxels(volume, one, other):
    first, last = box_voxels(volume, BoxPrompt(ras(volume, one, other)))
    np.testing.assert_array_equal(first, np.minimum(one, other))
    np.testing.assert_array_equal(last, np.maximum(one, other))


@settings(max_examples=50)
@given(volumes(), voxels, voxels)
def test_a_box_with_faces_between_voxels_holds_the_voxels_inside(volume, one, other):
    low, high = np.minimum(one, other) - 0.5, np.maximum(one, other) + 0.5
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    box = BoxPrompt(ras(volume, *corners))
    centres = np.indices(SHAPE[::-1]).reshape(3, -1).T
    inside = centres[((centres > low) & (centres < high)).all(axis=1)]
    first, last = box_voxels(volume, box)
    np.testing.assert_array_equal(first, inside.min(axis=0))
    np.testing.assert_array_equal(last, inside.max(axis=0))
    for column, axis in enumerate("ijk"):
        indices = slices_of(volume, box, axis)
        assert indices == tuple(np.unique(inside[:, column]))
        box_here = prompts_on_slice(volume, [box], SliceIndex(axis, indices[0])).boxes[0]
        painted = np.zeros(SHAPE, dtype=bool)
        painted[tuple(inside[:, ::-1].T)] = True
        rows, cols = np.nonzero(Volume(painted, volume.ijk_to_ras).slice_pixels(SliceIndex(axis, indices[0])))
        np.testing.assert_array_equal(box_here, [rows.min(), cols.min(), rows.max(), cols.max()])


def test_flat_axis():
    volume = Volume(np.zeros(SHAPE), np.diag([-2.0, 3.0, 4.0, 1.0]))
    assert flat_axis(volume, BoxPrompt(ras(volume, (1, 1, 3), (5, 6, 3)))) == "k"
    assert flat_axis(volume, BoxPrompt(ras(volume, (1, 4, 3), (5, 4, 6)))) == "j"
    assert flat_axis(volume, BoxPrompt(ras(volume, (1, 4, 3), (1, 5, 6)))) == "i"
    assert flat_axis(volume, BoxPrompt(ras(volume, (1, 1, 3), (5, 6, 4)))) is None
    # Drawn thick on an image of one slice: flat.
    assert flat_axis(Volume(np.zeros((1, 9, 9)), np.eye(4)), BoxPrompt(((1, 1, -20), (5, 6, 20)))) == "k"


def test_a_box_is_cut_to_the_volume():
    volume = Volume(np.zeros(SHAPE), np.eye(4))
    first, last = box_voxels(volume, BoxPrompt(((-50, 2, 2), (4, 300, 1e300))))
    assert (*first, *last) == (0, 2, 2, 4, 8, 6)


@pytest.mark.parametrize("position", [(-0.6, 0, 0), (0, 8.6, 0), (0, 0, 7), (1e300, 0, 0)])
def test_a_point_outside_is_refused_and_named(position):
    volume = Volume(np.zeros(SHAPE), np.eye(4))
    with pytest.raises(
        GeometryError, match=r"outside of the volume, which spans R -0.5 to 10.5, A -0.5 to 8.5, S -0.5"
    ):
        slices_of(volume, PointPrompt(position), "k")
    with pytest.raises(GeometryError, match=re.escape(f"{position[0]:.6g}, {position[1]:.6g}")):
        slices_of(volume, ScribblePrompt(((0, 0, 0), position)), "k")


def test_a_box_outside_is_refused():
    volume = Volume(np.zeros(SHAPE), np.eye(4))
    with pytest.raises(GeometryError, match="box around"):
        slices_of(volume, BoxPrompt(((20, 0, 0), (30, 4, 4))), "k")


def test_a_scribble_is_a_line_on_each_slice_that_it_runs_through():
    volume = Volume(np.zeros((5, 40, 40)), np.eye(4))
    scribble = ScribblePrompt(((2, 3, 1), (30, 17, 1), (30, 17, 2), (30, 35, 2)))
    assert slices_of(volume, scribble, "k") == (1, 2)
    here = prompts_on_slice(volume, [scribble], SliceIndex("k", 1))
    rows, cols = np.nonzero(here.strokes == STROKE_LOGIT)
    # Bresenham's property: one pixel for each column of a line flatter than 45 degrees, within half a pixel of it.
    np.testing.assert_array_equal(np.unique(cols), np.arange(2, 31))
    assert np.abs(rows - (3 + (cols - 2) * 0.5)).max() <= 0.75
    assert 2 <= len(here.points) <= 4 and here.labels.all()
    spread = {tuple(point) for point in here.points.tolist()}
    assert {(3.0, 2.0), (17.0, 30.0)} <= spread  # both ends are among the points
    negative = ScribblePrompt(((5, 20, 1),), positive=False)
    both = prompts_on_slice(volume, [scribble, negative], SliceIndex("k", 1))
    assert both.strokes[20, 5] == -STROKE_LOGIT and both.labels[-1] == 0 and both.has_target


def test_masks_belong_to_their_own_slice_and_must_fit_it():
    volume = Volume(np.zeros(SHAPE), np.eye(4))
    mask = np.zeros((9, 11), dtype=bool)
    mask[3:5, 2:7] = True
    prompt = MaskPrompt.from_mask(SliceIndex("k", 4), mask)
    assert slices_of(volume, prompt, "k") == (4,) and slices_of(volume, prompt, "j") == ()
    np.testing.assert_array_equal(prompts_on_slice(volume, [prompt], SliceIndex("k", 4)).mask, mask)
    with pytest.raises(InputError, match="the slice has"):
        slices_of(volume, MaskPrompt.from_mask(SliceIndex("j", 4), mask), "j")
    with pytest.raises(GeometryError, match="use 0 to 6"):
        slices_of(volume, MaskPrompt.from_mask(SliceIndex("k", 7), mask), "k")


def test_negative_points_alone_have_no_target():
    volume = Volume(np.zeros(SHAPE), np.eye(4))
    here = prompts_on_slice(volume, [PointPrompt((1, 2, 3), positive=False)], SliceIndex("k", 3))
    assert not here.empty and not here.has_target
