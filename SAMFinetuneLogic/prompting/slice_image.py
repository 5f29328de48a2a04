"""One slice, or a crop of it, on its way to the encoder."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window


@dataclass(frozen=True)
class Crop:
    """A rectangle of a slice's pixels: ``rows`` x ``cols`` of them from (``row``, ``col``) on."""

    row: int
    col: int
    rows: int
    cols: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an array (rows, cols, ...)."""
        return slice(self.row, self.row + self.rows), slice(self.col, self.col + self.cols)


@dataclass(frozen=True, eq=False)
class SliceImage:
    """The pixels of a slice and all that decides how they look to the encoder.

    Attributes:
        pixels: the source's values, (rows, cols) or uint8 (rows, cols, 3); not windowed.
        spacing: (row_mm, col_mm).
        slice: which slice of the volume.
        window: maps the values to 0..255.
        crop: the part of the slice that ``pixels`` is; None for all of it.
    """

    pixels: np.ndarray
    spacing: tuple[float, float]
    slice: SliceIndex
    window: Window
    crop: Crop | None = None

    @classmethod
    def of(cls, volume: Volume, slice_index: SliceIndex, window: Window) -> "SliceImage":
        """A whole slice of a volume.

        Raises:
            GeometryError: the slice is outside of the volume.
        """
        spacing = volume.slice_spacing(slice_index.axis)
        return cls(volume.slice_pixels(slice_index), spacing, slice_index, window)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        rows, cols = self.pixels.shape[:2]
        return rows, cols

    def cropped(self, crop: Crop) -> "SliceImage":
        """A part of a whole slice.

        Raises:
            GeometryError: the crop is empty or reaches out of the slice, or this is a crop already.
        """
        rows, cols = self.shape
        inside = 0 <= crop.row < crop.row + crop.rows <= rows and 0 <= crop.col < crop.col + crop.cols <= cols
        if self.crop is not None or not inside:
            raise GeometryError(
                f"{crop} does not lie inside of a whole slice of {rows} x {cols} pixels; make it smaller."
            )
        return SliceImage(self.pixels[crop.slices], self.spacing, self.slice, self.window, crop)

    def to_uint8(self) -> np.ndarray:
        """The windowed pixels, uint8 (rows, cols) or (rows, cols, 3)."""
        return self.window.to_uint8(self.pixels)

    @cached_property
    def gray(self) -> np.ndarray:
        """The windowed pixels as one value each from 0 to 255, (rows, cols): of colours the mean."""
        pixels = self.to_uint8()
        return pixels if pixels.ndim == 2 else pixels.mean(axis=2)

    @cached_property
    def content_hash(self) -> str:
        """Hash of the pixels' values, shape and type: the same image at another place in memory has the same."""
        digest = hashlib.blake2b(f"{self.pixels.shape} {self.pixels.dtype.str}".encode(), digest_size=32)
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()
