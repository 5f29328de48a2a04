"""Transformed copies of a labelled slice, whose embeddings are cached: caching rules out augmenting the embedding."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.fewshot.settings import Purpose


@dataclass(frozen=True)
class Variation:
    """The largest change in each respect; what is a factor f goes from 1/f to f. Reconstructed, like all of this file.

    Attributes:
        rotation: degrees.
        zoom, stretch: factors on the size, and on the proportions of width and height.
        shift: of the slice's sides.
        gamma, contrast: exponent of and factor on values from 0 to 1.
        brightness: added to them.
        shading: of the natural logarithm of a smooth field, as receiver coils and sound attenuation make them.
        outside: what comes into view from beyond the slice repeats its border, or is black.
    """

    rotation: float
    zoom: float
    stretch: float
    shift: float
    gamma: float
    contrast: float
    brightness: float
    shading: float
    outside: Literal["border", "black"]


VARIATIONS: dict[Purpose, Variation] = {
    "same_images": Variation(12.0, 1.2, 1.0, 0.06, 1.5, 1.25, 0.08, 0.0, "border"),
    "other_images": Variation(20.0, 1.6, 1.15, 0.1, 1.8, 1.3, 0.1, 0.35, "black"),
}

_NOISE = 0.03
_SHADING_KNOTS = 4


@dataclass(frozen=True, eq=False)
class LabelledPixels:
    """uint8 pixels (rows, cols[, 3]) and their labels (rows, cols)."""

    pixels: np.ndarray
    labels: np.ndarray


def augment(
    source: LabelledPixels,
    spacing: tuple[float, float],
    rng: np.random.Generator,
    flips: bool = False,
    purpose: Purpose = "same_images",
) -> LabelledPixels:
    """A turned, scaled, shifted copy with other contrast, brightness, shading and noise, of the same shape.

    Turned in millimetres, so that anisotropic pixels do not shear. What comes into view from outside is background.

    Args:
        spacing: (row_mm, col_mm).
        flips: also mirror every other copy along its columns.
        purpose: one of :data:`VARIATIONS`.
    """
    most = VARIATIONS[purpose]
    angle = np.deg2rad(rng.uniform(-most.rotation, most.rotation))
    zoom = most.zoom ** rng.uniform(-1, 1)
    stretch = most.stretch ** rng.uniform(-1, 1) if most.stretch > 1 else 1.0
    mirror = -1.0 if flips and rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    to_mm = np.diag(spacing)
    matrix = np.linalg.inv(to_mm) @ turn @ np.diag([stretch, mirror / stretch]) @ to_mm
    shape = np.array(source.labels.shape)
    centre = (shape - 1) / 2
    offset = centre - matrix @ centre + rng.uniform(-most.shift, most.shift, 2) * shape

    def warp(plane: np.ndarray, order: int, mode: str) -> np.ndarray:
        return ndimage.affine_transform(plane, matrix, offset, order=order, mode=mode)

    border = "nearest" if most.outside == "border" else "constant"
    values = source.pixels.astype(np.float32) / 255
    channels = values[..., None] if values.ndim == 2 else values
    warped = np.stack([warp(channels[..., n], 1, border) for n in range(channels.shape[2])], axis=2)
    gamma = most.gamma ** rng.uniform(-1, 1)
    warped = np.clip(warped, 0, 1) ** gamma
    contrast = rng.uniform(1 / most.contrast, most.contrast)
    warped = (warped - 0.5) * contrast + 0.5 + rng.uniform(-most.brightness, most.brightness)
    if most.shading:
        warped = warped * np.exp(_shading(source.labels.shape, most.shading, rng))[..., None]
    warped = warped + rng.normal(0, rng.uniform(0, _NOISE), warped.shape[:2])[..., None]
    pixels = np.rint(255 * np.clip(warped, 0, 1)).astype(np.uint8)
    labels = warp(source.labels, 0, "constant")
    return LabelledPixels(pixels if values.ndim == 3 else pixels[..., 0], labels)


def _shading(shape: tuple[int, ...], most: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field (rows, cols) within -most to most."""
    knots = rng.uniform(-1, 1, (_SHADING_KNOTS, _SHADING_KNOTS))
    at = np.meshgrid(*(np.linspace(0, _SHADING_KNOTS - 1, side) for side in shape), indexing="ij")
    # Cubic splines go beyond their knots a little.
    return rng.uniform(0, most) * np.clip(ndimage.map_coordinates(knots, at, order=3, mode="nearest"), -1, 1)
