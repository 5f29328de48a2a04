"""The slices of a volume as the few-shot decoder sees them: turned the way a radiologist looks at them.

Volumes of the same anatomy are stored in many voxel orders. Turned to the radiological view, a slice labelled in one
is comparable with a slice of another, and a result does not depend on how a volume happens to be stored.
"""

from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.pictures.orientation import Display, display_of
from SAMFinetuneLogic.prompting.slice_image import SliceImage


@dataclass(frozen=True, eq=False)
class Plane:
    """All slices of a volume along one axis, with their window and their turn.

    Attributes:
        volume, axis, window: which slices, and how their values are shown.
        display: the turn from voxel order to the radiological view.
    """

    volume: Volume
    axis: Axis
    window: Window
    display: Display

    @classmethod
    def of(cls, volume: Volume, axis: Axis, window: Window) -> "Plane":
        return cls(volume, axis, window, display_of(volume.ijk_to_ras, axis))

    def image(self, index: int) -> SliceImage:
        """A turned slice, for :meth:`SAMFinetuneLogic.prompting.predictor.SlicePredictor.embed`.

        Raises:
            GeometryError: the index lies outside of the volume.
        """
        where = SliceIndex(self.axis, index)
        row_mm, col_mm = self.display.pair(*self.volume.slice_spacing(self.axis))
        return SliceImage(self.turn(self.volume.slice_pixels(where)), (row_mm, col_mm), where, self.window)

    def turn(self, pixels: np.ndarray) -> np.ndarray:
        """An array (rows, cols[, 3]) of a slice in voxel order to the radiological view."""
        return np.ascontiguousarray(self.display.array(pixels))

    def restore(self, shown: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`turn`, for arrays (..., rows, cols)."""
        rows, cols = (-1 if flip else 1 for flip in (self.display.flip_rows, self.display.flip_cols))
        straight = shown[..., ::rows, ::cols]
        return np.ascontiguousarray(straight.swapaxes(-1, -2) if self.display.transpose else straight)
