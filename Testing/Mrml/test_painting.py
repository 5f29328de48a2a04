"""The brush: what it covers, what becomes of it, and that it leaves nothing behind."""

from itertools import pairwise

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis  # noqa: E402
from SAMFinetuneLogic.mrml.painting import ScratchBrush  # noqa: E402
from SAMFinetuneLogic.mrml.segments import segment_ids, segment_mask, segmentation_of  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402
from SAMFinetuneLogic.prompting.placement import prompts_on_slice  # noqa: E402


def painted(brush, volume, slice_index):
    mask = segment_mask(brush.node, segment_ids(brush.node)[0], volume)
    stack = np.moveaxis(mask, array_axis(slice_index.axis), 0)
    assert not np.delete(stack, slice_index.index, axis=0).any()
    return stack[slice_index.index]


@pytest.mark.parametrize("slice_index", [SliceIndex("k", 2), SliceIndex("j", 3), SliceIndex("i", 4)])
@pytest.mark.parametrize("radius", [0.1, 3.0])
def test_a_stroke_covers_what_is_near_its_line(slice_index, radius, a_scene, a_volume_node):
    """Against the distance of each pixel to many points of the line, in world space."""
    volume = read_volume(a_volume_node).volume
    rows, cols = volume.slice_shape(slice_index.axis)
    ends = np.array([[slice_index.index, 1.2, 1.1], [slice_index.index, rows - 1.4, cols - 2.3]])
    start, end = volume.slice_to_ras(ends, slice_index.axis)
    brush = ScratchBrush(a_scene, volume, slice_index, radius, True, (0, 1, 0))
    brush.stroke(tuple(start), tuple(end))

    row, col = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    pixels = np.stack([np.full(row.size, slice_index.index), row.ravel(), col.ravel()], axis=1).astype(float)
    centres = volume.slice_to_ras(pixels, slice_index.axis)
    line = start + np.linspace(0, 1, 2001)[:, None] * (end - start)
    away = np.linalg.norm(centres[:, None] - line[None], axis=2).min(axis=1).reshape(rows, cols)
    reach = max(radius, float(np.linalg.norm(volume.slice_spacing(slice_index.axis))) / 2)
    found = painted(brush, volume, slice_index)
    assert found[away < reach - 0.01].all() and not found[away > reach + 0.01].any()


def test_what_was_painted_becomes_a_scribble_within_it(a_scene, a_volume_node):
    volume, where = read_volume(a_volume_node).volume, SliceIndex("k", 2)
    brush = ScratchBrush(a_scene, volume, where, 2.0, False, (1, 0, 0))
    rows, cols = volume.slice_shape("k")
    places = volume.slice_to_ras(np.array([[2.0, 1, 1], [2.0, 1, cols - 2], [2.0, rows - 2, cols - 2]]), "k")
    for start, end in pairwise(places):
        brush.stroke(tuple(start), tuple(end))
    mask = painted(brush, volume, where)
    prompts = brush.take()
    assert [prompt.positive for prompt in prompts] == [False]
    drawn = prompts_on_slice(volume, prompts, where).strokes != 0
    assert drawn.any() and mask[drawn].all()
    assert brush.take() == ()  # it is empty now


def test_nothing_is_left_or_saved_and_no_segmentation_is_found(a_scene, a_volume_node, tmp_path):
    volume = read_volume(a_volume_node).volume
    before = a_scene.GetNumberOfNodes()
    brush = ScratchBrush(a_scene, volume, SliceIndex("k", 2), 2.0, True, (0, 1, 0))
    position = tuple(volume.slice_to_ras(np.array([[2.0, 2, 2]]), "k")[0])
    brush.stroke(position, position)
    assert segmentation_of(a_volume_node) is None  # it is nobody's segmentation
    assert brush.node.GetHideFromEditors() and not brush.node.GetSaveWithScene()
    brush.remove()
    assert a_scene.GetNumberOfNodes() == before


def test_painting_beside_the_volume_is_nothing(a_scene, a_volume_node):
    volume = read_volume(a_volume_node).volume
    brush = ScratchBrush(a_scene, volume, SliceIndex("k", 2), 2.0, True, (0, 1, 0))
    far = tuple(volume.slice_to_ras(np.array([[2.0, -500, -500]]), "k")[0])
    brush.stroke(far, far)
    assert brush.take() == ()
