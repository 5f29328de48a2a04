"""Matrices and parent transforms of MRML nodes as numpy arrays."""

from typing import Any

import numpy as np
import vtk

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.geometry import as_affine, as_points, inverse_affine


def from_vtk(matrix: Any) -> np.ndarray:
    """A ``vtkMatrix4x4`` as a (4, 4) float64 array."""
    return np.array([[matrix.GetElement(row, col) for col in range(4)] for row in range(4)])


def to_vtk(matrix: np.ndarray) -> Any:
    """A (4, 4) array as a new ``vtkMatrix4x4``."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=np.float64).ravel().tolist())
    return result


def is_linear(node: Any) -> bool:
    """Whether a node's parent transforms, all together, are a matrix; so they are if there are none."""
    parent = node.GetParentTransformNode()
    return parent is None or bool(parent.IsTransformToWorldLinear())


def parent_to_world(node: Any) -> np.ndarray:
    """The (4, 4) matrix from a node's own coordinates to world RAS.

    Raises:
        GeometryError: a non-linear transform, or one that cannot be inverted.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise GeometryError(
            f"{node.GetName()} is under the non-linear transform {parent.GetName()}: harden the transform, or move "
            f"the node out of it, in the Transforms module."
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return as_affine(from_vtk(matrix))


def to_world_points(node: Any, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) of a node's own coordinates in world RAS, through linear and non-linear transforms."""
    return _through(node, points, to_world=True)


def from_world_points(node: Any, points: np.ndarray) -> np.ndarray:
    """The inverse of :func:`to_world_points`."""
    return _through(node, points, to_world=False)


def ijk_to_world(node: Any) -> np.ndarray:
    """The (4, 4) matrix from a volume node's voxels to world RAS.

    Raises:
        GeometryError: a non-linear transform, or axes that coincide.
    """
    return as_affine(parent_to_world(node) @ own_ijk_to_ras(node))


def own_ijk_to_ras(node: Any) -> np.ndarray:
    """The (4, 4) matrix from a volume node's voxels to its own RAS, without parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return from_vtk(matrix)


def _through(node: Any, points: np.ndarray, to_world: bool) -> np.ndarray:
    positions = as_points(points)
    parent = node.GetParentTransformNode()
    if parent is None:
        return positions
    if parent.IsTransformToWorldLinear():
        matrix = parent_to_world(node)
        matrix = matrix if to_world else inverse_affine(matrix)
        return positions @ matrix[:3, :3].T + matrix[:3, 3]
    transform = vtk.vtkGeneralTransform()
    (parent.GetTransformToWorld if to_world else parent.GetTransformFromWorld)(transform)
    return np.array([transform.TransformPoint(*point) for point in positions.tolist()]).reshape(-1, 3)
