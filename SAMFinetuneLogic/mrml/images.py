"""VTK's images as numpy arrays (k, j, i), and back."""

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.geometry import as_affine
from SAMFinetuneLogic.mrml.matrices import from_vtk, to_vtk

Box = tuple[slice, slice, slice]
"""A block of a grid, for indexing an array (k, j, i)."""


def has_voxels(image: Any) -> bool:
    """Whether an image exists and is not empty."""
    return image is not None and image.GetPointData().GetScalars() is not None and image.GetNumberOfPoints() > 0


def image_array(image: Any) -> np.ndarray:
    """A view of an image's voxels, (k, j, i) or (k, j, i, components); it shares memory with the image.

    Raises:
        InputError: voxels of single bits.
    """
    scalars = image.GetPointData().GetScalars()
    if scalars.GetDataType() == vtk.VTK_BIT:
        raise InputError("An image of single bits cannot be read; cast it to another type in Slicer.")
    columns, rows, slices = image.GetDimensions()
    components = scalars.GetNumberOfComponents()
    shape = (slices, rows, columns) if components == 1 else (slices, rows, columns, components)
    return vtk_to_numpy(scalars).reshape(shape)


def image_start(image: Any) -> np.ndarray:
    """The index (i, j, k) of an image's first voxel; Slicer's labelmaps begin where their segments do."""
    return np.array(image.GetExtent()[::2])


def image_to_world(image: Any) -> np.ndarray:
    """The (4, 4) matrix from the indices (i, j, k) of a ``vtkOrientedImageData`` to its segmentation's coordinates."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return as_affine(from_vtk(matrix))


def oriented_image(voxels: np.ndarray, ijk_to_ras: np.ndarray, start: np.ndarray | None = None) -> Any:
    """A new ``vtkOrientedImageData`` with a copy of ``voxels``.

    Args:
        voxels: (k, j, i); booleans become 0 and 1.
        ijk_to_ras: (4, 4), of index (0, 0, 0) whatever the start.
        start: index (i, j, k) of the first voxel.
    """
    first = np.zeros(3, dtype=int) if start is None else np.asarray(start, dtype=int)
    image = slicer.vtkOrientedImageData()
    last = first + np.array(voxels.shape[::-1]) - 1
    image.SetExtent(*(int(edge) for pair in zip(first, last, strict=True) for edge in pair))
    fill_image(image, voxels)
    image.SetImageToWorldMatrix(to_vtk(ijk_to_ras))
    return image


def fill_image(image: Any, voxels: np.ndarray) -> None:
    """Allocate an image whose extent is set already, and copy ``voxels`` (k, j, i[, components]) into it."""
    values = voxels.view(np.uint8) if voxels.dtype == np.bool_ else voxels
    values = values.astype(np.float32) if values.dtype == np.float16 else values
    image.AllocateScalars(get_vtk_array_type(values.dtype), 1 if values.ndim == 3 else values.shape[3])
    image_array(image)[...] = values
