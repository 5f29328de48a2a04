"""Families of random shapes: each function returns a boolean image (size, size)."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.synthetic.fields import Rng, grid, smooth_noise


def fourier_blob(
    rng: Rng, size: int, centre: np.ndarray, radius: float, roughness: float | None = None, stretch: float | None = None
) -> np.ndarray:
    """A star-shaped outline: a turned ellipse whose radius is modulated by a few harmonics."""
    return _blob_field(rng, size, centre, radius, roughness, stretch) > 0


def _blob_field(
    rng: Rng, size: int, centre: np.ndarray, radius: float, roughness: float | None, stretch: float | None
) -> np.ndarray:
    y, x = grid(size)
    stretch = rng.uniform(1.0, 2.2) if stretch is None else stretch
    roughness = rng.choice([0.0, 0.08, 0.2]) if roughness is None else roughness
    turn = rng.uniform(0, np.pi)
    dy, dx = y - centre[0], x - centre[1]
    along = (np.cos(turn) * dx + np.sin(turn) * dy) / np.sqrt(stretch)
    across = (-np.sin(turn) * dx + np.cos(turn) * dy) * np.sqrt(stretch)
    distance = np.hypot(along, across)
    outline = np.full_like(distance, radius)
    if roughness > 0:
        angle = np.arctan2(across, along)
        for harmonic in range(2, 7):
            amplitude = roughness * radius * rng.standard_normal() / (harmonic - 1) ** 0.7
            outline = outline + amplitude * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    return np.maximum(outline, 0.25 * radius) - distance


def ring(rng: Rng, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """A closed or open wall: the band between an outline and the same outline, smaller and perhaps shifted."""
    thickness = rng.uniform(0.12, 0.45)
    shift = rng.normal(0, 0.12 * radius, 2) * (rng.random() < 0.4)
    state = rng.bit_generator.state
    outer = _blob_field(rng, size, centre, radius, None, None)
    rng.bit_generator.state = state  # the same outline once more
    inner = _blob_field(rng, size, centre + shift, radius * (1 - thickness), None, None)
    return (outer > 0) & (inner <= 0)


def tube(rng: Rng, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """A bent tube, sometimes branching: all points within a width of a smooth random path."""
    width = np.clip(radius * rng.uniform(0.12, 0.35), 1.0 / size, 0.25)
    start, heading = centre.copy(), rng.uniform(0, 2 * np.pi)
    paths = [_walk(rng, start, heading, radius)]
    for _ in range(rng.integers(0, 4)):
        root = paths[rng.integers(len(paths))]
        paths.append(_walk(rng, root[rng.integers(len(root))], rng.uniform(0, 2 * np.pi), 0.7 * radius))
    mask = np.zeros((size, size), dtype=bool)
    for path in paths:
        pixels = np.rint((path + 1) * size / 2 - 0.5).astype(int)
        inside = ((pixels >= 0) & (pixels < size)).all(1)
        mask[pixels[inside, 0], pixels[inside, 1]] = True
    if not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask) <= max(0.7, width * size / 2)


def _walk(rng: Rng, start: np.ndarray, heading: float, length: float) -> np.ndarray:
    steps = 60
    turns = np.cumsum(rng.normal(0, 0.12, steps)) + rng.normal(0, 0.02) * np.arange(steps)
    angles = heading + turns
    step = 2.2 * length / steps
    return start + np.cumsum(step * np.stack([np.sin(angles), np.cos(angles)], 1), axis=0)


def ragged_patch(rng: Rng, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """An irregular lesion: an outline roughened by noise of a finer scale."""
    field = _blob_field(rng, size, centre, radius, 0.15, None) / radius
    return field + rng.uniform(0.1, 0.45) * smooth_noise(rng, size, rng.uniform(2, 8) / max(radius, 0.1)) > 0


def cluster(rng: Rng, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """Several separate small blobs of one kind, such as lesions or vertebral processes."""
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(rng.integers(2, 8)):
        where = centre + rng.normal(0, radius, 2)
        mask |= fourier_blob(rng, size, where, radius * rng.uniform(0.12, 0.4))
    return mask


def mirrored_pair(rng: Rng, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """Two nearly mirrored outlines beside a vertical midline, such as lungs, kidneys or ventricles."""
    offset = radius * rng.uniform(0.9, 1.3)
    state = rng.bit_generator.state
    turned = _blob_field(rng, size, np.array([centre[0], centre[1] + offset]), radius * 0.8, None, None) > 0
    rng.bit_generator.state = state
    other = _blob_field(rng, size, np.array([centre[0], -centre[1] + offset]), radius * 0.8, None, None) > 0
    return turned | other[:, ::-1]


ShapeFunction = Callable[[Rng, int, np.ndarray, float], np.ndarray]

SHAPES: tuple[tuple[ShapeFunction, float], ...] = (
    (fourier_blob, 0.46),
    (ring, 0.10),
    (tube, 0.14),
    (ragged_patch, 0.14),
    (cluster, 0.08),
    (mirrored_pair, 0.08),
)


def random_shape(rng: Rng, size: int, centre: np.ndarray, radius: float) -> np.ndarray:
    """A shape of a random family with about the given radius (in half image widths)."""
    weights = np.array([weight for _, weight in SHAPES])
    function = SHAPES[rng.choice(len(SHAPES), p=weights / weights.sum())][0]
    return function(rng, size, centre, radius)
