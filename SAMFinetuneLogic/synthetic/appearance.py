"""How a label map becomes an image: intensities, textures, blur, shading, noise, and what scanners add.

An appearance is drawn once and may render several slices, so that one slice can stand as the example for another.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.synthetic.fields import Rng, grid, resize_bilinear, smooth_noise
from SAMFinetuneLogic.synthetic.label_maps import LabelTree

STYLES = ("plain", "ct", "mr", "ultrasound", "xray", "pet")
_STYLE_WEIGHTS = np.array([0.18, 0.24, 0.26, 0.12, 0.12, 0.08])


@dataclass(frozen=True)
class Appearance:
    """What belongs to a series of slices of one examination.

    Attributes:
        style: one of :data:`STYLES`.
        means, textures, slopes: per label: intensity (about 0 to 1), texture strength, shading (2 per label).
        texture_cells: sizes of the two texture fields, in bumps across the image.
        blur: partial-volume blur in pixels.
        noise: standard deviation of the noise.
        shading: strength of the slow multiplicative field.
        resolution: share of the output resolution at which the slice was acquired.
        gamma: exponent applied to the final image.
        seed: of the further choices that all slices of the examination share.
    """

    style: str
    means: np.ndarray
    textures: np.ndarray
    slopes: np.ndarray
    texture_cells: tuple[float, float]
    blur: float
    noise: float
    shading: float
    resolution: float
    gamma: float
    seed: int


def random_appearance(rng: Rng, tree: LabelTree) -> Appearance:
    """Draw an appearance for the labels of ``tree``."""
    style = str(rng.choice(STYLES, p=_STYLE_WEIGHTS / _STYLE_WEIGHTS.sum()))
    count = len(tree.parents)
    contrast = np.exp(rng.uniform(np.log(0.05), np.log(0.45)))
    means = _means(rng, tree, style, contrast)
    textured = rng.random(count) < rng.choice([0.0, 0.3, 0.8])
    strength = contrast * rng.uniform(0.1, 0.7)
    return Appearance(
        style=style,
        means=means,
        textures=np.where(textured, strength * rng.random(count), 0.1 * strength * rng.random(count)),
        slopes=rng.normal(0, 0.3 * contrast, (count, 2)) * (rng.random((count, 1)) < 0.3),
        texture_cells=(rng.uniform(4, 14), rng.uniform(14, 60)),
        blur=rng.uniform(1.5, 3.5) if style == "pet" else rng.choice([0.4, 0.7, 1.0, 1.5], p=[0.35, 0.35, 0.2, 0.1]),
        noise=contrast * rng.choice([0.02, 0.1, 0.25, 0.5], p=[0.25, 0.4, 0.25, 0.1]),
        shading=rng.choice([0.0, 0.1, 0.3]) if style in ("ct", "pet") else rng.uniform(0, 0.45),
        resolution=rng.choice([1.0, 1.0, 0.6, 0.4, 0.25]),
        gamma=np.exp(rng.normal(0, 0.25)),
        seed=int(rng.integers(2**31)),
    )


def _means(rng: Rng, tree: LabelTree, style: str, contrast: float) -> np.ndarray:
    """Intensities: children stay near their parents when contrast is low; some are far from everything."""
    count = len(tree.parents)
    means = np.zeros(count)
    means[0] = rng.uniform(0, 0.15) if rng.random() < 0.7 else rng.random()
    for label in range(1, count):
        parent = tree.parents[label]
        if parent == 0:
            means[label] = rng.uniform(0.25, 0.9)
        else:
            step = contrast * rng.uniform(0.5, 1.5) * rng.choice([-1.0, 1.0])
            if rng.random() < 0.15:
                step = rng.uniform(-0.8, 0.8)
            means[label] = np.clip(means[parent] + step, 0, 1.1)
            if abs(means[label] - means[parent]) < 0.03:
                means[label] = means[parent] + 0.04 * rng.choice([-1.0, 1.0])
    if style == "ct":
        means[0] = 0.0
    if style == "pet":
        means = means**3 * rng.uniform(0.7, 1.2)
    return means


def render(rng: Rng, tree: LabelTree, look: Appearance) -> np.ndarray:
    """Render one slice: (size, size) uint8."""
    labels, size = tree.labels, tree.labels.shape[0]
    shared = np.random.default_rng(look.seed)
    y, x = grid(size)
    image = look.means[labels]
    image = image + look.slopes[labels, 0] * y + look.slopes[labels, 1] * x
    strength = look.textures[labels]
    coarse, fine = (smooth_noise(rng, size, cells) for cells in look.texture_cells)
    image = image + strength * (0.6 * coarse + 0.4 * fine)
    image = _style_before_blur(rng, shared, image, labels, look)
    image = ndimage.gaussian_filter(image.astype(np.float32), look.blur, mode="nearest")
    if look.shading > 0:
        image = image * np.exp(look.shading * 0.5 * smooth_noise(rng, size, rng.uniform(1.5, 4)))
    image = _style_after_blur(rng, shared, image, look)
    return _finish(shared, image, look)


def _style_before_blur(rng: Rng, shared: Rng, image: np.ndarray, labels: np.ndarray, look: Appearance) -> np.ndarray:
    size = image.shape[0]
    if look.style == "ultrasound":
        edges = np.zeros_like(image)
        edges[:, :-1] += np.abs(np.diff(image, axis=1))
        edges[:-1] += np.abs(np.diff(image, axis=0))
        visible = np.clip(smooth_noise(rng, size, 5) + 0.7, 0, 1.5)
        image = image * shared.uniform(0.6, 1.0) + shared.uniform(0.3, 1.6) * visible * ndimage.maximum_filter(edges, 2)
    elif look.style == "xray":
        y, x = grid(size)
        count, tilt = shared.uniform(4, 11), shared.uniform(-1.2, 1.2)
        phase = count * (y + tilt * np.abs(x) ** rng.uniform(1, 2)) + rng.uniform(0, 6)
        ribs = np.clip(np.sin(phase * np.pi) - shared.uniform(-0.2, 0.5), 0, 1)
        image = image + shared.uniform(0.0, 0.25) * ribs
        spine = np.exp(-0.5 * ((x - rng.normal(0, 0.1)) / rng.uniform(0.05, 0.2)) ** 2)
        image = image + shared.uniform(0, 0.4) * spine
    elif look.style == "ct" and shared.random() < 0.6:
        bright = shared.random(len(look.means)) < 0.12
        bright[0] = False
        image = np.where(bright[labels], shared.uniform(0.9, 1.6), image)
    return image


def _style_after_blur(rng: Rng, shared: Rng, image: np.ndarray, look: Appearance) -> np.ndarray:
    size = image.shape[0]
    if look.resolution < 1:
        low = max(16, round(size * look.resolution))
        image = resize_bilinear(image, low, low)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if look.style == "ultrasound":
        grain = ndimage.gaussian_filter(noise, (shared.uniform(0.3, 0.9), shared.uniform(0.5, 1.6)))
        image = image * (1 + shared.uniform(0.2, 0.6) * grain / (grain.std() + 1e-6))
    elif look.style == "mr":
        other = rng.standard_normal(image.shape, dtype=np.float32)
        image = np.hypot(image + look.noise * noise, look.noise * other)
    else:
        if look.style == "ct" and shared.random() < 0.5:
            noise = ndimage.gaussian_filter(noise, shared.uniform(0.4, 0.9))
            noise /= noise.std() + 1e-6
        image = image + look.noise * noise
    if look.resolution < 1:
        image = resize_bilinear(image, size, size)
    if look.style == "ultrasound" and shared.random() < 0.6:
        image = image * _sector(shared, size)
    return image


def _sector(rng: Rng, size: int) -> np.ndarray:
    """The fan that an ultrasound probe sees, with a few shadows along its beams."""
    y, x = grid(size)
    apex = -rng.uniform(1.1, 2.2)
    angle, depth = np.arctan2(x, y - apex), np.hypot(x, y - apex)
    fan = (np.abs(angle) < rng.uniform(0.45, 0.9)) & (depth < rng.uniform(0.9, 1.2) - apex)
    light = fan.astype(np.float32)
    for _ in range(rng.integers(0, 3)):
        beam = np.abs(angle - rng.uniform(-0.6, 0.6)) < rng.uniform(0.02, 0.12)
        light = light * np.where(beam & (depth > rng.uniform(0.3, 1.0) - apex), rng.uniform(0.1, 0.6), 1.0)
    return light


def _finish(shared: Rng, image: np.ndarray, look: Appearance) -> np.ndarray:
    """A display window, gamma and 8 bits, as a viewer's window would do."""
    low, high = np.percentile(image, [shared.uniform(0, 2), shared.uniform(97.5, 100)])
    if look.style == "ct" and shared.random() < 0.4:
        middle, width = (
            np.median(image[image > low + 1e-3]) if (image > low + 1e-3).any() else 0.5,
            shared.uniform(0.3, 0.9),
        )
        low, high = max(low, middle - width / 2), middle + width / 2
    scaled = np.clip((image - low) / max(high - low, 1e-3), 0, 1) ** look.gamma
    if look.style == "plain" and shared.random() < 0.3:
        scaled = 1 - scaled
    return (scaled * 255).astype(np.uint8)
