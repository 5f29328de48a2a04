"""Other looks of a labelled slice, made on the fly: turned, scaled, shifted, and with other contrast."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSlice


@dataclass(frozen=True)
class Augmentation:
    """How far a copy may differ. All ranges are symmetric; 0 (or 1 for factors) switches a change off.

    Attributes:
        rotation: degrees.
        zoom: (least, largest) factor by which the content grows.
        shift: part of the slice's sides.
        contrast, brightness: largest relative change of contrast, and of brightness as a part of the range.
        gamma: largest factor of the exponent.
        noise: largest standard deviation, as a part of the range.
        equalise: probability of equalising the histogram.
        closeups: probability that the copy shows a crop about one structure, as the product's second look at small
            structures does.
    """

    rotation: float = 15.0
    zoom: tuple[float, float] = (0.8, 1.3)
    shift: float = 0.08
    contrast: float = 0.25
    brightness: float = 0.1
    gamma: float = 1.4
    noise: float = 0.03
    equalise: float = 0.0
    closeups: float = 0.5


FAITHFUL = Augmentation(
    rotation=45.0,
    zoom=(0.5, 1.5),
    shift=0.25,
    contrast=0.3,
    brightness=0.15,
    gamma=1.0,
    noise=0.0,
    equalise=0.1,
    closeups=0.0,
)
"""As paper A's code: equalise p 0.1, colour jitter 0.3, random resized crop 0.5 to 1.5, rotation within 45 degrees."""

RECOMMENDED = Augmentation()


def augmented(entry: LabelledSlice, augmentation: Augmentation, rng: np.random.Generator) -> LabelledSlice:
    """A copy of the same shape and spacing, turned and scaled in millimetres.

    What comes into view from outside repeats the slice's border; its labels are background.
    """
    a = augmentation
    angle = np.deg2rad(rng.uniform(-a.rotation, a.rotation))
    zoom = np.exp(rng.uniform(np.log(a.zoom[0]), np.log(a.zoom[1])))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    to_mm = np.diag(entry.spacing)
    matrix = np.linalg.inv(to_mm) @ turn @ to_mm
    shape = np.array(entry.labels.shape)
    centre = (shape - 1) / 2
    offset = centre - matrix @ centre + rng.uniform(-a.shift, a.shift, 2) * shape
    values = entry.pixels.astype(np.float32) / 255
    channels = values[..., None] if values.ndim == 2 else values
    warped = np.stack(
        [
            ndimage.affine_transform(channels[..., n], matrix, offset, order=1, mode="nearest")
            for n in range(channels.shape[2])
        ],
        axis=2,
    )
    labels = ndimage.affine_transform(entry.labels, matrix, offset, order=0, mode="constant")
    if rng.random() < a.equalise:
        warped = _equalised(warped)
    warped = np.clip(warped, 0, 1) ** (a.gamma ** rng.uniform(-1, 1))
    contrast, brightness = 1 + rng.uniform(-a.contrast, a.contrast), rng.uniform(-a.brightness, a.brightness)
    warped = (warped - 0.5) * contrast + 0.5 + brightness
    if a.noise:
        warped = warped + rng.normal(0, rng.uniform(0, a.noise), warped.shape[:2])[..., None]
    pixels = np.rint(255 * np.clip(warped, 0, 1)).astype(np.uint8)
    pixels = pixels if values.ndim == 3 else pixels[..., 0]
    return replace(entry, pixels=pixels, labels=labels)


def _equalised(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] by their rank."""
    counts = np.bincount(np.rint(values * 255).astype(int).ravel(), minlength=256)
    ranks = np.cumsum(counts) / max(1, counts.sum())
    return ranks[np.rint(values * 255).astype(int)].astype(np.float32)
