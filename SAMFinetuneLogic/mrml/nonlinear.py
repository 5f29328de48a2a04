"""A volume under a non-linear transform, on a regular grid of world space."""

from typing import Any

import numpy as np
import vtk

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.geometry import inverse_affine, transform_points
from SAMFinetuneLogic.mrml.images import image_array
from SAMFinetuneLogic.mrml.matrices import from_world_points, own_ijk_to_ras, to_vtk, to_world_points

_STEPS = 9
"""Points along each edge of the volume by which its extent in world space is found."""

_MAX_GROWTH = 8
"""A grid of more than so many times the voxels stands for a transform that was not meant for this volume."""


def resample_to_world(node: Any, nearest: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """What Slicer shows of a volume node whose parent transform is non-linear.

    The grid keeps the volume's spacing and axes as the transform turns and scales them at the volume's centre, made
    perpendicular, and covers all of the volume. Values between voxels are interpolated linearly. Voxels outside of
    the volume take the value that Slicer estimates for its background.

    Args:
        nearest: take the nearest voxel instead, for labels.

    Returns:
        voxels (k, j, i[, components]), of the volume's type, and their (4, 4) IJK-to-world matrix.

    Raises:
        GeometryError: the transform tears the volume apart.
    """
    own = own_ijk_to_ras(node)
    size = np.array(node.GetImageData().GetDimensions())
    grid, extent = _world_grid(node, own, size)
    mapping = vtk.vtkGeneralTransform()
    mapping.PostMultiply()
    mapping.Concatenate(to_vtk(grid))
    from_world = vtk.vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformFromWorld(from_world)
    mapping.Concatenate(from_world)
    mapping.Concatenate(to_vtk(inverse_affine(own)))
    source = vtk.vtkImageData()
    source.ShallowCopy(node.GetImageData())
    source.SetOrigin(0, 0, 0)
    source.SetSpacing(1, 1, 1)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(source)
    reslice.SetResliceTransform(mapping)
    (reslice.SetInterpolationModeToNearestNeighbor if nearest else reslice.SetInterpolationModeToLinear)()
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(0, int(extent[0]) - 1, 0, int(extent[1]) - 1, 0, int(extent[2]) - 1)
    background = 0.0 if nearest else node.GetImageBackgroundScalarComponentAsDouble(0)
    reslice.SetBackgroundLevel(background)
    reslice.Update()
    return image_array(reslice.GetOutput()), grid


def _world_grid(node: Any, own: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IJK-to-world of the new grid, and its size (i, j, k)."""
    axes = _axes_at_centre(node, own, size)
    steps = [np.linspace(-0.5, length - 0.5, _STEPS) for length in size]
    ijk = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    world = to_world_points(node, transform_points(own, ijk))
    if not np.isfinite(world).all():
        raise GeometryError(f"The transform of {node.GetName()} leads to places that are not finite; remove it.")
    returned = transform_points(inverse_affine(own), from_world_points(node, world))
    if np.median(np.abs(returned - ijk).max(axis=1)) > 0.5:
        raise GeometryError(
            f"The non-linear transform of {node.GetName()} folds the volume and has no inverse; check that the "
            f"transform belongs to this volume."
        )
    positions = world @ np.linalg.inv(axes).T
    low, high = positions.min(axis=0) + 0.5, positions.max(axis=0) - 0.5
    # Along an axis of one voxel, the new grid has as many as the bent slice needs.
    extent = np.maximum(np.ceil(high - low - 1e-6), 0).astype(int) + 1
    if extent.prod() > _MAX_GROWTH * max(size.prod(), 1000):
        raise GeometryError(
            f"The non-linear transform of {node.GetName()} spreads it over {'x'.join(map(str, extent))} voxels; check "
            f"that the transform belongs to this volume."
        )
    grid = np.eye(4)
    grid[:3, :3] = axes
    grid[:3, 3] = axes @ ((low + high) / 2 - (extent - 1) / 2)
    return grid, extent


def _axes_at_centre(node: Any, own: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(3, 3): perpendicular columns nearest to the voxel axes in world space, each as long as its voxel is there."""
    centre = (size - 1) / 2
    half = np.maximum(size / 4, 0.5)
    ijk = np.concatenate([centre + np.diag(half), centre - np.diag(half)])
    world = to_world_points(node, transform_points(own, ijk))
    columns = ((world[:3] - world[3:]) / (2 * half[:, None])).T
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise GeometryError(f"The transform of {node.GetName()} flattens the volume; remove it or check it.")
    left, _, right = np.linalg.svd(columns / lengths)
    return left @ right * lengths
