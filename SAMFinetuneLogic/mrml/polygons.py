"""The pixels inside of a closed outline."""

import numpy as np


def fill_polygon(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie inside of a polygon, by the even-odd rule.

    A centre on the outline belongs to the polygon above and to the left of it, so that polygons that share an edge
    never share a pixel.

    Args:
        corners: (N, 2) fractional (row, col), joined in their order, the last with the first.
        shape: (rows, cols) of the result.

    Returns:
        boolean (rows, cols).
    """
    rows, cols = shape
    # Crossings of each row's centre line with the edges, counted to the left of each pixel.
    flips = np.zeros((rows, cols + 1), dtype=np.int32)
    for (row_a, col_a), (row_b, col_b) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if row_a == row_b:
            continue
        low, high = min(row_a, row_b), max(row_a, row_b)
        crossed = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), rows))
        at = col_a + (crossed - row_a) * (col_b - col_a) / (row_b - row_a)
        first = np.clip(np.ceil(at), 0, cols).astype(np.intp)
        np.add.at(flips, (crossed, first), 1)
    return np.cumsum(flips, axis=1)[:, :cols] % 2 == 1
