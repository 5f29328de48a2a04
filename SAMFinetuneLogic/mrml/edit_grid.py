"""The grid on which a segmentation is edited: the volume's, unless what is drawn already is finer.

Slicer brings whole segments onto that grid with the first edit. A segmentation that was made on another volume, or with
Slicer's oversampling, would lose its detail on the way.
"""

from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.geometry import inverse_affine, transform_points
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.images import image_to_world, oriented_image
from SAMFinetuneLogic.mrml.matrices import parent_to_world
from SAMFinetuneLogic.mrml.segments import (
    Labelmap,
    binary_labelmap,
    labelmap_of,
    reference_image,
    segment_ids,
    set_edit_grid,
    set_reference_geometry,
)

_TOLERANCE = 0.01
_MOST_VOXELS = 1 << 29


def choose_edit_grid(segmentation_node: Any, volume_node: Any, volume: Volume) -> str | None:
    """Let a segmentation be edited on a grid on which neither masks of the volume nor its own segments lose anything.

    That is the volume's own, where nothing finer is drawn; else the grid that the segmentation has, if it is as fine as
    the volume's in every direction; else the volume's, divided.

    Returns:
        a sentence for the user if it is divided.

    Raises:
        InputError: it had to be divided too often.
        GeometryError: the segmentation is under a non-linear transform.
    """
    to_world = parent_to_world(segmentation_node)
    drawn = [labelmap for labelmap, _ in _layers(segmentation_node) if labelmap.values.voxels.any()]
    own = _steps(volume.ijk_to_ras, volume)
    finest = np.min([_steps(to_world @ each.matrix, volume) for each in drawn], axis=0) if drawn else own
    if (finest >= own * (1 - _TOLERANCE)).all():
        set_reference_geometry(segmentation_node, volume_node, volume)
        return None
    reference = reference_image(segmentation_node)
    if reference is not None:
        matrix = image_to_world(reference)
        if (_steps(to_world @ matrix, volume) <= np.minimum(finest, own) * (1 + _TOLERANCE)).all():
            first, last = _covering(matrix, np.array(reference.GetExtent()), to_world, volume)
            set_edit_grid(segmentation_node, volume_node, matrix, first, last)
            return None
    parts = np.maximum(np.ceil(own / finest - _TOLERANCE), 1).astype(int)
    size = np.array(volume.shape[::-1]) * parts
    if np.prod(size.astype(float)) > _MOST_VOXELS:
        raise InputError(
            f"{segmentation_node.GetName()} was made on a much finer grid than this volume's: choose another "
            f"segmentation, or none for a new one."
        )
    divided = volume.ijk_to_ras.copy()
    divided[:3, :3] /= parts
    divided[:3, 3] += divided[:3, :3] @ ((1 - parts) / 2)  # the outer faces stay where they are
    set_edit_grid(segmentation_node, volume_node, inverse_affine(to_world) @ divided, np.zeros(3, dtype=int), size - 1)
    return (
        f"{segmentation_node.GetName()} was made on another grid: it is edited on this volume's, divided "
        f"{' x '.join(map(str, parts))}, so that nothing of it is lost."
    )


def bring_onto(segmentation_node: Any, matrix: np.ndarray) -> set[str]:
    """Bring what is drawn onto a grid: each voxel takes the value of the nearest one.

    Slicer does it with the first edit, and overwrites segments then that the overwrite mode protects.

    Args:
        matrix: (4, 4) from the indices of the grid to the segmentation's own coordinates.

    Returns:
        the segments that were on another grid.
    """
    moved: set[str] = set()
    for labelmap, sharing in _layers(segmentation_node):
        if not labelmap.lies_on(matrix):
            values = labelmap.values_on_grid(matrix, *labelmap.extent_on(matrix))
            image = oriented_image(values.voxels, matrix, values.start)
            for segment_id in sharing:
                segmentation_node.GetSegmentation().GetSegment(segment_id).AddRepresentation(binary_labelmap(), image)
            moved.update(sharing)
    return moved


def _layers(segmentation_node: Any) -> list[tuple[Labelmap, list[str]]]:
    """Each labelmap, and the segments that share it."""
    if segmentation_node.GetSegmentation().GetSourceRepresentationName() != binary_labelmap():
        return []  # surfaces, which are on no grid
    found: dict[int, tuple[Labelmap, list[str]]] = {}
    for segment_id in segment_ids(segmentation_node):
        labelmap = labelmap_of(segmentation_node, segment_id)
        if labelmap is not None:
            found.setdefault(labelmap.layer, (labelmap, []))[1].append(segment_id)
    return list(found.values())


def _steps(matrix: np.ndarray, volume: Volume) -> np.ndarray:
    """(3,) how far apart a grid's voxels lie along the volume's axes i, j and k, in mm."""
    axes = volume.ijk_to_ras[:3, :3] / np.linalg.norm(volume.ijk_to_ras[:3, :3], axis=0)
    steps: np.ndarray = 1 / np.linalg.norm(np.linalg.solve(matrix[:3, :3], axes), axis=0)
    return steps


def _covering(
    matrix: np.ndarray, extent: np.ndarray, to_world: np.ndarray, volume: Volume
) -> tuple[np.ndarray, np.ndarray]:
    """First and last index (i, j, k) of a grid, so that it holds what it has held, and the volume."""
    last = np.array(volume.shape[::-1]) - 1
    faces = np.array(list(np.ndindex(2, 2, 2))) * (last + 1) - 0.5
    there = transform_points(inverse_affine(to_world @ matrix) @ volume.ijk_to_ras, faces)
    first = np.minimum(extent[::2], np.floor(there.min(axis=0) + 0.5).astype(int))
    return first, np.maximum(extent[1::2], np.ceil(there.max(axis=0) - 0.5).astype(int))
