"""Scribbles painted in a scratch segment."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis  # noqa: E402
from SAMFinetuneLogic.mrml.editing import SegmentWriter  # noqa: E402
from SAMFinetuneLogic.mrml.scribbles import middle_line, scribble_prompts  # noqa: E402
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402
from SAMFinetuneLogic.prompting.placement import prompts_on_slice  # noqa: E402

RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0.3, 0.9))
def test_a_middle_line_stays_in_its_piece_without_gaps(seed, density):
    pieces, count = ndimage.label(np.random.default_rng(seed).random((12, 15)) < density, structure=np.ones((3, 3)))
    for number in range(1, count + 1):
        piece = pieces == number
        line = middle_line(piece)
        assert piece[tuple(line.T)].all()
        assert len({tuple(pixel) for pixel in line.tolist()}) == len(line)
        assert np.abs(np.diff(line, axis=0)).max(initial=1) == 1


def test_a_thin_stroke_is_its_own_middle():
    piece = np.zeros((9, 20), bool)
    path = [(4, col) for col in range(2, 15)] + [(row, 15) for row in range(5, 9)]
    piece[tuple(np.array(path).T)] = True
    line = {tuple(pixel) for pixel in middle_line(piece).tolist()}
    # The corner may be cut, as strokes are joined diagonally.
    assert set(path) - line <= {(4, 14), (5, 15), (4, 15)}
    assert line <= set(path)


def test_a_thick_stroke_is_reduced_to_its_middle_row():
    piece = np.zeros((11, 40), bool)
    piece[3:8, 4:36] = True
    line = middle_line(piece)
    assert (line[6:-6, 0] == 5).all()


def test_a_filled_area_becomes_its_middle():
    assert middle_line(np.ones((301, 301), bool)).tolist() == [[150, 150]]


@pytest.mark.parametrize("axis", ["i", "j", "k"])
@pytest.mark.parametrize("positive", [True, False])
def test_painted_strokes_prompt_the_slices_they_are_on(axis, positive, a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    node = add_segmentation(a_scene, a_volume_node, volume)
    scratch = add_segment(node, "scratch")
    rows, cols = volume.slice_shape(axis)
    masks = {1: np.zeros((rows, cols)), 4: np.zeros((rows, cols))}
    masks[1][2, 1:6] = 1
    masks[4][0:2, 1] = 1
    masks[4][rows - 1, cols - 2 :] = 1
    SegmentWriter(node, a_volume_node, volume).write_slices({scratch: masks}, axis)

    found = scribble_prompts(node, scratch, volume, axis, positive)

    assert len(found) == 3
    assert {prompt.positive for prompt in found} == {positive}
    for index, mask in masks.items():
        drawn = prompts_on_slice(volume, found, SliceIndex(axis, index))
        np.testing.assert_array_equal(drawn.strokes != 0, mask != 0)
        assert (drawn.labels == positive).all()
    assert volume.shape[array_axis(axis)] > 4


def test_nothing_painted_is_no_scribble(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    node = add_segmentation(a_scene, a_volume_node, volume)
    assert scribble_prompts(node, add_segment(node), volume, "k") == ()
