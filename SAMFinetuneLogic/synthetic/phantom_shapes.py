"""Implicit solids: functions of position that are negative inside a body and about its distance in mm outside.

Positions are arrays ``(..., 3)`` in RAS millimetres; every function returns an array ``(...)``. The distances are
exact for tubes and first-order elsewhere: good enough to soften an edge over the width of a voxel.
"""

from collections.abc import Sequence

import numpy as np

Point = tuple[float, float, float]

_TINY = 1e-9


def superellipsoid(
    points: np.ndarray, centre: Point, radii: Point, exponent: float = 2.0, rotation: np.ndarray | None = None
) -> np.ndarray:
    """|x/a|^n + |y/b|^n + |z/c|^n = 1; an exponent above 2 makes the body boxier. Radial distance.

    ``rotation`` (3, 3) turns the body: its columns are the body's own axes.
    """
    local = points - np.asarray(centre)
    if rotation is not None:
        local = local @ rotation
    scaled = np.abs(local) / np.asarray(radii)
    level = np.sum(scaled**exponent, axis=-1) ** (1.0 / exponent)
    # At the centre itself the radial distance has no direction: the smallest radius stands in.
    distance = np.linalg.norm(local, axis=-1) * (1.0 - 1.0 / np.maximum(level, _TINY))
    return np.where(level < 1e-3, -min(radii), distance)


def superellipse_column(
    points: np.ndarray, centre: tuple[float, float], radii: tuple[float, float], exponent: float = 2.0
) -> np.ndarray:
    """A column along S with a superellipse in the R-A plane as its section."""
    local = points[..., :2] - np.asarray(centre)
    level = np.sum((np.abs(local) / np.asarray(radii)) ** exponent, axis=-1) ** (1.0 / exponent)
    distance = np.linalg.norm(local, axis=-1) * (1.0 - 1.0 / np.maximum(level, _TINY))
    return np.where(level < 1e-3, -min(radii), distance)


def tube(points: np.ndarray, path: Sequence[Point], radii: float | Sequence[float] | np.ndarray) -> np.ndarray:
    """A chain of cones with round joints along ``path``; ``radii`` is one number or one for each point."""
    knots = np.asarray(path, dtype=float)
    sizes = np.broadcast_to(np.asarray(radii, dtype=float), len(knots))
    best = np.full(points.shape[:-1], np.inf)
    for start, end, first, last in zip(knots[:-1], knots[1:], sizes[:-1], sizes[1:], strict=True):
        along = end - start
        fraction = np.clip((points - start) @ along / max(float(along @ along), _TINY), 0.0, 1.0)
        nearest = start + fraction[..., None] * along
        best = np.minimum(best, np.linalg.norm(points - nearest, axis=-1) - (first + fraction * (last - first)))
    return best


def smooth_curve(path: Sequence[Point], count: int = 16) -> list[Point]:
    """``count`` points on the Catmull-Rom spline through ``path``."""
    knots = np.asarray(path, dtype=float)
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    result = []
    for position in np.linspace(0, len(knots) - 1, count):
        piece = min(int(position), len(knots) - 2)
        t = position - piece
        a, b, c, d = padded[piece : piece + 4]
        point = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        result.append((float(point[0]), float(point[1]), float(point[2])))
    return result


def union(*bodies: np.ndarray, blend: float = 0.0) -> np.ndarray:
    """What lies in any of the bodies; ``blend`` (mm) rounds the seam (polynomial smooth minimum)."""
    result = bodies[0]
    for body in bodies[1:]:
        if blend > 0:
            overlap = np.maximum(blend - np.abs(result - body), 0.0) / blend
            result = np.minimum(result, body) - overlap**2 * blend / 4
        else:
            result = np.minimum(result, body)
    return result


def common(*bodies: np.ndarray) -> np.ndarray:
    """What lies in all of the bodies."""
    return np.maximum.reduce(bodies)


def without(body: np.ndarray, other: np.ndarray, gap: float = 0.0) -> np.ndarray:
    """``body`` less ``other``, and less a margin of ``gap`` mm around that."""
    return np.maximum(body, gap - other)


def rotation_matrix(degrees: Point) -> np.ndarray:
    """Turns about R, then A, then S, in degrees."""
    a, b, c = np.radians(degrees)
    about_r = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_a = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_s = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_s @ about_a @ about_r
