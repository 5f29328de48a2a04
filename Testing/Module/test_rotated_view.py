"""A view that is turned against the voxels: the nearest voxel axis is used, and the user is told."""

import numpy as np
import slicer
from module_scene import ras_of, settle
from mouse import click, slice_node, view_of


def test_a_click_in_a_rotated_view_uses_the_nearest_voxel_axis_and_says_so(blocks):
    bench = blocks.bench
    assert bench.view_notice() is None
    node = slice_node(blocks)
    center = ras_of(blocks, 5, 20, 25)
    matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    angle = np.radians(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = center
    node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))
    node.UpdateMatrices()
    bench.follow_view()
    assert bench.view_notice() and bench.view_notice() in blocks.panel.prompt.ui.sliceState.text
    blocks.panel.prompt.ui.positiveButton.click()
    click(view_of(blocks), center)
    settle(blocks)
    (placed,) = bench.prompter.prompts()
    np.testing.assert_allclose(placed.prompt.position, center, atol=1.0)
    assert bench.prompter.target.slice.axis == "k" and bench.prompter.target.slice.index == 5
    mask = np.zeros((56, 64), dtype=bool)
    mask[10:30, 12:40] = True
    np.testing.assert_array_equal(bench.prompter.candidates.mask, mask)
