"""Transformed copies of a labelled slice, whose embeddings are cached: caching rules out augmenting the embedding."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

MAX_ROTATION = 12.0
"""Degrees."""
MAX_ZOOM = 1.2
MAX_SHIFT = 0.06
"""Of the slice's sides."""


@dataclass(frozen=True, eq=False)
class LabelledPixels:
    """uint8 pixels (rows, cols[, 3]) and their labels (rows, cols)."""

    pixels: np.ndarray
    labels: np.ndarray


def augment(
    source: LabelledPixels, spacing: tuple[float, float], rng: np.random.Generator, flips: bool = False
) -> LabelledPixels:
    """A turned, scaled, shifted copy with other contrast, brightness and noise, of the same shape.

    Turned in millimetres, so that anisotropic pixels do not shear. What comes into view from outside repeats the
    slice's border; its labels are background.

    Args:
        spacing: (row_mm, col_mm).
        flips: also mirror every other copy along its columns.
    """
    angle = np.deg2rad(rng.uniform(-MAX_ROTATION, MAX_ROTATION))
    zoom = MAX_ZOOM ** rng.uniform(-1, 1)
    mirror = -1.0 if flips and rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    to_mm = np.diag(spacing)
    matrix = np.linalg.inv(to_mm) @ turn @ np.diag([1.0, mirror]) @ to_mm
    shape = np.array(source.labels.shape)
    centre = (shape - 1) / 2
    offset = centre - matrix @ centre + rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * shape

    def warp(plane: np.ndarray, order: int, mode: str) -> np.ndarray:
        return ndimage.affine_transform(plane, matrix, offset, order=order, mode=mode)

    values = source.pixels.astype(np.float32) / 255
    channels = values[..., None] if values.ndim == 2 else values
    warped = np.stack([warp(channels[..., n], 1, "nearest") for n in range(channels.shape[2])], axis=2)
    gamma = 1.5 ** rng.uniform(-1, 1)
    warped = np.clip(warped, 0, 1) ** gamma
    warped = (warped - 0.5) * rng.uniform(0.8, 1.25) + 0.5 + rng.uniform(-0.08, 0.08)
    warped = warped + rng.normal(0, rng.uniform(0, 0.03), warped.shape[:2])[..., None]
    pixels = np.rint(255 * np.clip(warped, 0, 1)).astype(np.uint8)
    labels = warp(source.labels, 0, "constant")
    return LabelledPixels(pixels if values.ndim == 3 else pixels[..., 0], labels)
