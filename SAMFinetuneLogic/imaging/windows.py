"""Intensity windows: which range of values becomes black to white before a slice goes to the model.

A window belongs to the volume, so that all of its slices look alike, and it is stored with the result. The voxels
themselves are never changed.

The rule behind ``auto``, in this order:

1. A colour image: taken as it is.
2. The DICOM modality, where the file states one: CT -> ``soft_tissue``; MR -> ``mr``; PT, NM -> ``pet``; US, IVUS ->
   ``ultrasound``; CR, DX, MG, XA, RF, PX, IO -> ``xray``.
3. Else the values. Stored in 8 bits and using their range (largest value 200 or more): ``as_is``. Air of a CT
   (0.5 % of the voxels or more between -1100 and -700, fewer from there to -300, next to none below but padding):
   ``soft_tissue``.
   Anything else: ``mr``. A CT cropped inside the body has no air and so lands there: its percentiles span the tissues
   that it holds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.value_sample import foreground_of, is_ct_like, is_full_8_bit, sample_values
from SAMFinetuneLogic.imaging.volume import Volume

CT_PRESETS: dict[str, tuple[float, float]] = {
    "soft_tissue": (40, 400),
    "lung": (-600, 1500),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (60, 160),
}
"""Level and width in HU."""

WINDOW_NAMES: tuple[str, ...] = ("auto", *CT_PRESETS, "mr", "pet", "ultrasound", "xray", "as_is", "full")
"""What :func:`choose_window` accepts, besides ``LEVEL/WIDTH``."""

_WINDOW_OF_MODALITY: dict[str, str] = {
    "CT": "soft_tissue",
    "MR": "mr",
    **dict.fromkeys(("PT", "NM"), "pet"),
    **dict.fromkeys(("US", "IVUS"), "ultrasound"),
    **dict.fromkeys(("CR", "DX", "MG", "XA", "RF", "PX", "IO"), "xray"),
}
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Window:
    """A range of values, in the image's unit (HU for CT), and what it was called.

    Raises:
        InputError: the bounds are not finite, or ``lower`` is not below ``upper``.
    """

    lower: float
    upper: float
    name: str

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lower) and np.isfinite(self.upper) and self.lower < self.upper):
            raise InputError(
                f"The window {self.lower} to {self.upper} is empty; its lower end must lie below its upper end."
            )

    @property
    def level(self) -> float:
        """The value that becomes mid-gray."""
        return (self.lower + self.upper) / 2

    @property
    def width(self) -> float:
        """The range of values from black to white."""
        return self.upper - self.lower

    def to_uint8(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of any real type to uint8 of the same shape: ``lower`` -> 0, ``upper`` -> 255, rounded.

        Values outside are clipped, NaN becomes 0. Colour pixels (rows, cols, 3) uint8 pass unchanged.
        """
        if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
            return pixels
        clipped = np.clip(pixels.astype(np.float64), self.lower, self.upper)
        scaled = np.rint((clipped - self.lower) * (255.0 / self.width))
        return np.nan_to_num(scaled, copy=False, nan=0.0).astype(np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {"name": self.name, "lower": self.lower, "upper": self.upper}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Window":
        """The inverse of :meth:`to_dict`."""
        return cls(float(content["lower"]), float(content["upper"]), str(content["name"]))


def choose_window(volume: Volume, name: str = "auto") -> Window:
    """The window for all slices of ``volume``.

    Args:
        name: one of :data:`WINDOW_NAMES`, or a level and width such as ``40/400``.

    ``mr`` and ``xray`` span the 0.5th to 99.5th percentile of the voxels that are not background (one value that
    fills a tenth of the image or more at its dark end); ``xray`` of 8 bits that use their range is taken as it is.
    ``pet`` goes from 0 to the 99.5th percentile of the positive voxels, be it SUV or activity. ``as_is`` takes gray
    levels 0 to 255 as they are, and so does ``ultrasound``, unless there are values beyond 8 bits: then it is
    ``full``, from the smallest to the largest value. NaN and infinities do not count. A colour image always passes
    as it is.

    Raises:
        InputError: the name is unknown or the width is not positive.
    """
    wanted = _resolve(volume, name)
    if isinstance(wanted, Window):
        return wanted
    if wanted in CT_PRESETS:
        level, width = CT_PRESETS[wanted]
        return Window(level - width / 2, level + width / 2, wanted)
    if wanted == "as_is":
        return Window(0.0, 255.0, wanted)
    if wanted == "xray" and is_full_8_bit(volume.voxels):
        return Window(0.0, 255.0, wanted)
    values = sample_values(volume.voxels, exact=wanted in ("full", "ultrasound"))
    if values.size == 0:
        return Window(0.0, 1.0, wanted)
    lower, upper = _range_of(wanted, values)
    if not lower < upper:
        # One value everywhere: mid-gray. Half a unit is lost on huge values, so go to the next number there.
        lower, upper = min(lower - 0.5, np.nextafter(lower, -np.inf)), max(lower + 0.5, np.nextafter(lower, np.inf))
    return Window(float(lower), float(upper), wanted)


def _resolve(volume: Volume, name: str) -> str | Window:
    """A window, or the name of the rule that gives one; never ``auto``."""
    key = re.sub(r"[\s-]+", "_", name.strip().lower()) if "/" not in name else name
    if key not in WINDOW_NAMES:
        custom = _custom(name)
        return Window(0.0, 255.0, "as_is") if volume.is_color else custom
    if volume.is_color:
        return "as_is"
    if key != "auto":
        return key
    if volume.modality in _WINDOW_OF_MODALITY:
        return _WINDOW_OF_MODALITY[volume.modality]
    if is_full_8_bit(volume.voxels):
        return "as_is"
    return "soft_tissue" if is_ct_like(sample_values(volume.voxels)) else "mr"


def _custom(name: str) -> Window:
    level, _, width = name.partition("/")
    try:
        center, extent = float(level), float(width)
    except ValueError:
        raise InputError(
            f"Unknown window {name!r}; use one of {', '.join(WINDOW_NAMES)}, or LEVEL/WIDTH such as 40/400."
        ) from None
    if not extent > 0:
        raise InputError(f"The width of the window {name!r} must be above zero; write LEVEL/WIDTH such as 40/400.")
    return Window(center - extent / 2, center + extent / 2, "custom")


def _range_of(name: str, values: np.ndarray) -> tuple[float, float]:
    """Bounds for finite ``values``, at least one; they may coincide."""
    if name == "pet":
        positive = values[values > 0]
        return 0.0, float(np.percentile(positive, _PERCENTILES[1])) if positive.size else 0.0
    if name == "ultrasound" and values.min() >= 0 and values.max() <= 255:
        return 0.0, 255.0
    if name in ("ultrasound", "full"):
        return float(values.min()), float(values.max())
    lower, upper = np.percentile(foreground_of(values), _PERCENTILES)
    return float(lower), float(upper)
