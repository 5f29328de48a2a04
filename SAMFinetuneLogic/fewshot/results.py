"""What is found in a volume without prompts. Knows no torch: results are also read where no model is."""

from dataclasses import dataclass

from SAMFinetuneLogic.imaging.axes import Axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.windows import Window


@dataclass(frozen=True)
class SliceConfidence:
    """One class on one slice.

    Attributes:
        value: of the class.
        index: of the slice.
        pixels: how many were found.
        confidence: see :meth:`SAMFinetuneLogic.fewshot.fitted.SlicePrediction.confidence`.
        doubtful_pixels: see :meth:`SAMFinetuneLogic.fewshot.fitted.SlicePrediction.doubtful_pixels`.
    """

    value: int
    index: int
    pixels: int
    confidence: float
    doubtful_pixels: float


@dataclass(frozen=True, eq=False)
class VolumeResult:
    """Structures in a volume.

    Attributes:
        labels: on the image's grid.
        axis, window: how its slices were shown.
        slices: one entry for each class on each slice, by slice.
    """

    labels: LabelMap
    axis: Axis
    window: Window
    slices: tuple[SliceConfidence, ...]
