"""Smooth random fields and warps on a square pixel grid, the raw material of the synthesiser."""

import numpy as np
from scipy import ndimage

Rng = np.random.Generator


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres as (y, x), each (size, size), from -1 to 1 across the image."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    return np.meshgrid(axis, axis, indexing="ij")


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resampling of a float image (h, w), pixel centres aligned at half pixels, edges held."""
    rows, row_weights = _taps(image.shape[0], height)
    cols, col_weights = _taps(image.shape[1], width)
    tall = (
        image[rows] * (1 - row_weights)[:, None]
        + image[np.minimum(rows + 1, image.shape[0] - 1)] * row_weights[:, None]
    )
    right = np.minimum(cols + 1, image.shape[1] - 1)
    return (tall[:, cols] * (1 - col_weights) + tall[:, right] * col_weights).astype(np.float32)


def _taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    first = np.floor(position).astype(np.intp)
    return first, (position - first).astype(np.float32)


def smooth_noise(rng: Rng, size: int, cells: float) -> np.ndarray:
    """Zero-mean, unit-variance noise (size, size) with about ``cells`` bumps across the image."""
    coarse = min(int(max(round(cells), 2)) + 2, size)
    noise = rng.standard_normal((coarse, coarse), dtype=np.float32)
    if coarse < size:
        noise = resize_bilinear(noise, size, size)
        noise = ndimage.uniform_filter(noise, max(1, size // coarse), mode="nearest")
    return (noise - noise.mean()) / (noise.std() + 1e-6)


def random_warp(rng: Rng, size: int, strength: float, cells: float) -> np.ndarray:
    """Displaced sampling positions (2, size, size) in pixels: smooth displacement of about ``strength`` * size."""
    rows, cols = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32), indexing="ij")
    scale = strength * size
    return np.stack([rows + scale * smooth_noise(rng, size, cells), cols + scale * smooth_noise(rng, size, cells)])


def random_similarity(rng: Rng, size: int, max_turn: float, max_scale: float, max_shift: float) -> np.ndarray:
    """Sampling positions (2, size, size) of a random rotation (radians), scale and shift (share of the size)."""
    y, x = grid(size)
    angle = rng.uniform(-max_turn, max_turn)
    scale = np.exp(rng.uniform(-np.log(max_scale), np.log(max_scale)))
    shift = rng.uniform(-max_shift, max_shift, 2) * 2
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    rows = cos * y - sin * x + shift[0]
    cols = sin * y + cos * x + shift[1]
    return (np.stack([rows, cols]).astype(np.float32) + 1) * size / 2 - 0.5


def sample_nearest(image: np.ndarray, positions: np.ndarray, outside: str = "edge") -> np.ndarray:
    """Values of ``image`` (h, w) at ``positions`` (2, H, W), nearest neighbour, edges held or mirrored."""
    height, width = image.shape
    rows = np.rint(positions[0]).astype(np.intp)
    cols = np.rint(positions[1]).astype(np.intp)
    if outside == "mirror":
        rows, cols = _mirror(rows, height), _mirror(cols, width)
    return image[np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)]


def _mirror(index: np.ndarray, count: int) -> np.ndarray:
    index = np.abs(index) % (2 * count)
    return np.where(index >= count, 2 * count - 1 - index, index)
