"""What a checkpoint expects of its input, as data. Knows no torch, so that the catalogue opens instantly."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Preprocessing:
    """What a checkpoint expects of its input image.

    Attributes:
        normalisation: "sam" subtracts SAM's mean and divides by its std; "minmax" maps each slice to 0..1.
        geometry: "longest_pad" scales the longest side to ``size`` and pads with zeros at the bottom and the
            right, after normalisation; "squash" scales both sides to ``size``.
        size: side of the square network input, in pixels.
        coordinates: "sam" scales pixel positions as SAM's own transforms do (position * scale);
            "centre" maps pixel centres onto pixel centres ((position + 0.5) * scale - 0.5).
        resampling: "bilinear" as SAM, "bicubic" as MedSAM, "area" as LiteMedSAM (bilinear when enlarging).
    """

    normalisation: Literal["sam", "minmax"]
    geometry: Literal["longest_pad", "squash"]
    size: int
    coordinates: Literal["sam", "centre"] = "sam"
    resampling: Literal["bilinear", "bicubic", "area"] = "bilinear"


SAM_PREPROCESSING = Preprocessing("sam", "longest_pad", 1024)
