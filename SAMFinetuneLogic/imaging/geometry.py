"""Affines and points: the few pieces of arithmetic that volumes, labels and files share."""

import numpy as np

from SAMFinetuneLogic.errors import GeometryError

# Flips the first two axes: LPS <-> RAS.
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def as_affine(matrix: np.ndarray) -> np.ndarray:
    """A read-only float64 copy of a (4, 4) affine.

    Raises:
        GeometryError: wrong shape, numbers that are not finite, a last row other than (0, 0, 0, 1), or an axis
            without extent.
    """
    affine = np.array(matrix, dtype=np.float64)
    if affine.shape != (4, 4):
        raise GeometryError(f"The IJK-to-RAS matrix must be 4 x 4, not {affine.shape}; check the image's geometry.")
    if not np.isfinite(affine).all():
        raise GeometryError("The IJK-to-RAS matrix has values that are not finite; correct the image's header.")
    if not np.allclose(affine[3], [0.0, 0.0, 0.0, 1.0], rtol=0, atol=1e-9):
        raise GeometryError("The last row of the IJK-to-RAS matrix must be 0 0 0 1; correct the image's header.")
    affine[3] = 0.0, 0.0, 0.0, 1.0
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # The determinant of the unit directions: independent of the size of voxels, zero if two axes coincide.
    if not (spacing > 0).all() or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-6:
        raise GeometryError("The IJK-to-RAS matrix cannot be inverted (two axes coincide); correct the image's header.")
    affine.flags.writeable = False
    return affine


def inverse_affine(affine: np.ndarray) -> np.ndarray:
    """The (4, 4) inverse of an affine, with an exact last row."""
    inverse = np.eye(4)
    inverse[:3, :3] = np.linalg.inv(affine[:3, :3])
    inverse[:3, 3] = -inverse[:3, :3] @ affine[:3, 3]
    return inverse


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Lengths of the three voxel axes (i, j, k) in mm."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0)
    return float(i), float(j), float(k)


def is_orthogonal(affine: np.ndarray, tolerance: float = 1e-4) -> bool:
    """Whether the three voxel axes are perpendicular: no cosine between two of them exceeds ``tolerance``."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() <= tolerance)


def as_points(points: np.ndarray) -> np.ndarray:
    """(N, 3) float64 from anything array-like.

    Raises:
        GeometryError: not N points of three coordinates.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise GeometryError(f"Points must have the shape (N, 3), not {array.shape}; give three coordinates for each.")
    return array


def transform_points(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (N, 3) points by a (4, 4) affine."""
    return as_points(points) @ affine[:3, :3].T + affine[:3, 3]
