"""Scribbles painted with the Segment Editor's brush in a scratch segment."""

from typing import Any

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from SAMFinetuneLogic.imaging.axes import Axis, array_axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.segments import segment_block
from SAMFinetuneLogic.prompting.prompts import ScribblePrompt, as_position

_MOST_PIXELS = 20_000
"""A painted piece of more pixels is a filled area, whose shape says nothing that a line could: a dot stands for it."""

_NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))


def scribble_prompts(
    segmentation_node: Any, segment_id: str, volume: Volume, axis: Axis, positive: bool = True
) -> tuple[ScribblePrompt, ...]:
    """What was painted: a scribble for each connected piece on each slice along ``axis``, along the piece's middle.

    Raises:
        InputError: there is no such segment.
        GeometryError: the segmentation is under a non-linear transform.
    """
    block = segment_block(segmentation_node, segment_id, volume)
    stack = np.moveaxis(block.voxels, array_axis(axis), 0)
    column = 2 - array_axis(axis)
    # (row, col) start of the block: the other two of (k, j, i), in this order.
    corner = np.delete(block.start[::-1], array_axis(axis))
    found = []
    for number, painted in enumerate(stack):
        pieces, count = ndimage.label(painted, structure=np.ones((3, 3)))
        for piece in range(1, count + 1):
            line = middle_line(pieces == piece) + corner
            index = np.full((len(line), 1), block.start[column] + number)
            ras = volume.slice_to_ras(np.hstack([index, line]).astype(np.float64), axis)
            found.append(ScribblePrompt(tuple(as_position(point) for point in ras.tolist()), positive))
    return tuple(found)


def middle_line(piece: np.ndarray) -> np.ndarray:
    """A line through a connected piece of a (rows, cols) mask, from one end to the other.

    Of all paths between its two farthest pixels the one that keeps best to the middle; it never leaves the piece.

    Returns:
        (N, 2) int64 rows and columns of neighbouring pixels, N >= 1.
    """
    depth = ndimage.distance_transform_edt(np.pad(piece, 1))[1:-1, 1:-1]
    pixels = np.argwhere(piece)
    if len(pixels) > _MOST_PIXELS:
        return pixels[[int(np.argmax(depth[piece]))]]
    numbers = np.full(np.array(piece.shape) + 2, -1)
    numbers[1:-1, 1:-1][piece] = np.arange(len(pixels))
    froms, tos, lengths = [], [], []
    for row, col in _NEIGHBOURS:
        there = numbers[pixels[:, 0] + 1 + row, pixels[:, 1] + 1 + col]
        inside = np.flatnonzero(there >= 0)
        froms.append(inside)
        tos.append(there[inside])
        lengths.append(np.full(len(inside), np.hypot(row, col)))
    start, end, length = np.concatenate(froms), np.concatenate(tos), np.concatenate(lengths)
    size = (len(pixels), len(pixels))
    plain = coo_array((length, (start, end)), shape=size).tocsr()
    # Twice to the farthest: exact on thin strokes, close enough on thick ones.
    first = int(np.argmax(dijkstra(plain, directed=False, indices=0)))
    last = int(np.argmax(dijkstra(plain, directed=False, indices=first)))
    depths = depth[piece]
    steep = length / (depths[start] + depths[end]) ** 2
    middle = coo_array((steep, (start, end)), shape=size).tocsr()
    _, before = dijkstra(middle, directed=False, indices=first, return_predecessors=True)
    path = [last]
    while path[-1] != first:
        path.append(int(before[path[-1]]))
    return pixels[path[::-1]]
