"""Which slice of a volume a slice view shows, and showing one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.matrices import from_vtk, to_vtk

ALIGNED_DEGREES = 1.0
"""A view within so many degrees of the voxel grid counts as lying in it."""


@dataclass(frozen=True)
class ViewedSlice:
    """The voxel slice that stands for what a view shows.

    Attributes:
        slice: its index may lie outside of the volume, where the view is empty.
        inside: whether it does not.
        tilt_degrees: angle between the view's plane and the slice.
        notice: a sentence for the user if that is more than a degree, or None.
    """

    slice: SliceIndex
    inside: bool
    tilt_degrees: float
    notice: str | None


def slice_in_view(volume: Volume, slice_node: Any, ras: np.ndarray | None = None) -> ViewedSlice:
    """The slice nearest to a view's plane: that whose normal is nearest to the view's.

    Args:
        ras: (3,) the world position that matters, such as the cursor's: in a rotated view, slices cross it. None for
            the middle of the view.
    """
    to_ras = from_vtk(slice_node.GetSliceToRAS())
    normal = to_ras[:3, 2] / np.linalg.norm(to_ras[:3, 2])
    cosines = [abs(float(_normal(volume, axis) @ normal)) for axis in AXES]
    best = int(np.argmax(cosines))
    position = to_ras[:3, 3] if ras is None else np.asarray(ras, dtype=np.float64)
    index = int(np.floor(volume.to_ijk(position[None])[0, best] + 0.5))
    axis = AXES[best]
    tilt = float(np.degrees(np.arccos(min(cosines[best], 1.0))))
    notice = (
        f"This view is rotated by {tilt:.0f} degrees against the voxels: you work on slices along {axis} that cross it."
        if tilt > ALIGNED_DEGREES
        else None
    )
    return ViewedSlice(SliceIndex(axis, index), 0 <= index < volume.slice_count(axis), tilt, notice)


def show_slice(slice_node: Any, volume: Volume, slice_index: SliceIndex) -> None:
    """Move a view to a slice, without turning it.

    Raises:
        GeometryError: the slice lies outside of the volume.
    """
    volume.slice_pixels(slice_index)
    ras = _middle(volume, slice_index)
    slice_node.JumpSliceByOffsetting(*ras.tolist())


def align_view(slice_node: Any, volume: Volume, slice_index: SliceIndex) -> None:
    """Turn a view into a slice's plane, as little as that needs, and move it there.

    Raises:
        GeometryError: the slice lies outside of the volume.
    """
    volume.slice_pixels(slice_index)
    before = from_vtk(slice_node.GetSliceToRAS())[:3, :3]
    normal = _normal(volume, slice_index.axis)
    normal = normal if normal @ before[:, 2] >= 0 else -normal
    columns = [volume.ijk_to_ras[:3, n] for n, axis in enumerate(AXES) if axis != slice_index.axis]
    # The in-plane voxel direction nearest to the view's horizontal one.
    units = [column / np.linalg.norm(column) for column in columns]
    across = max(units, key=lambda unit: abs(float(unit @ before[:, 0])))
    across = across if across @ before[:, 0] >= 0 else -across
    # Keeps the handedness: radiological views are mirrored.
    up = np.cross(normal, across) * np.sign(np.linalg.det(before))
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = across, up, normal
    matrix[:3, 3] = _middle(volume, slice_index)
    slice_node.GetSliceToRAS().DeepCopy(to_vtk(matrix))
    slice_node.UpdateMatrices()


def _middle(volume: Volume, slice_index: SliceIndex) -> np.ndarray:
    rows, cols = volume.slice_shape(slice_index.axis)
    centre = np.array([[slice_index.index, (rows - 1) / 2, (cols - 1) / 2]])
    return volume.slice_to_ras(centre, slice_index.axis)[0]


def _normal(volume: Volume, axis: Axis) -> np.ndarray:
    """Unit normal of the slices along ``axis``; on a sheared grid that is not the axis itself."""
    others = [volume.ijk_to_ras[:3, n] for n, name in enumerate(AXES) if name != axis]
    normal = np.cross(others[0], others[1])
    length = np.linalg.norm(normal)
    if not length:
        raise GeometryError("The volume's axes coincide; correct its matrix.")
    return normal / length
