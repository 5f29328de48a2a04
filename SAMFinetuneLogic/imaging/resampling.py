"""Labels on another grid, brought over through physical space."""

import numpy as np

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.geometry import inverse_affine, transform_points
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume

# Decides ties (a position half-way between two voxels) one way, whatever the rounding of the affines.
_TIE = 1e-6


def same_grid(a: Volume | LabelMap, b: Volume | LabelMap, tolerance: float = 0.01) -> bool:
    """Whether two grids have the same shape and place.

    Args:
        tolerance: how far apart corresponding corners may lie, in voxels. A hundredth forgives the rounding of
            file formats.
    """
    if a.shape != b.shape:
        return False
    corners = np.array(
        [[i, j, k] for i in (0, a.shape[2] - 1) for j in (0, a.shape[1] - 1) for k in (0, a.shape[0] - 1)]
    )
    there = transform_points(inverse_affine(a.ijk_to_ras) @ b.ijk_to_ras, corners)
    return bool(np.abs(there - corners).max() <= tolerance)


def resample_label_map(labels: LabelMap, reference: Volume | LabelMap) -> LabelMap:
    """``labels`` on the grid of ``reference``: each voxel takes the label of the nearest voxel in space.

    Voxels outside of the label map's grid (more than half a voxel from its outermost centres) become background.
    On the same grid the labels are an exact copy. Segments are kept, also those of which nothing is left.

    Raises:
        GeometryError: the two grids have no place in common.
    """
    if same_grid(labels, reference):
        return LabelMap(labels.voxels, reference.ijk_to_ras, labels.segments, name=labels.name)
    result, touched = nearest_voxels(labels.voxels, labels.ijk_to_ras, reference.shape, reference.ijk_to_ras)
    if not touched:
        raise GeometryError(
            f"{labels.name or 'The label map'} and {reference.name or 'the image'} have no place in common; check "
            f"that both belong to the same patient and scan."
        )
    return LabelMap(result, reference.ijk_to_ras, labels.segments, name=labels.name)


def nearest_voxels(
    voxels: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int], target: np.ndarray
) -> tuple[np.ndarray, bool]:
    """The values (k, j, i) that the voxels of another grid have: each that of the nearest voxel, 0 outside.

    Args:
        voxels: (k, j, i), on the grid of ``matrix``.
        matrix, target: (4, 4) from the indices (i, j, k) of the old and the new grid to one common space.
        shape: (k, j, i) of the new grid.

    Returns:
        the values, and whether the grids have any place in common.
    """
    mapping = inverse_affine(matrix) @ target
    sizes = voxels.shape[::-1]
    count_k, count_j, count_i = shape
    i, j = np.arange(count_i), np.arange(count_j)[:, None]
    # Per axis of the label grid: its part that changes within a slice of the reference, (j, i).
    planes = [row[0] * i + row[1] * j + row[3] for row in mapping[:3]]
    result = np.zeros(shape, dtype=voxels.dtype)
    touched = False
    for k in range(count_k):
        nearest = [np.floor(plane + row[2] * k + (0.5 + _TIE)) for plane, row in zip(planes, mapping[:3], strict=True)]
        inside = np.logical_and.reduce([(n >= 0) & (n < size) for n, size in zip(nearest, sizes, strict=True)])
        if inside.any():
            touched = True
            at_i, at_j, at_k = (n[inside].astype(np.intp) for n in nearest)
            result[k][inside] = voxels[at_k, at_j, at_i]
    return result, touched
