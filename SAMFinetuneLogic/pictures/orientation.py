"""How a slice is turned for the eye of a radiologist.

    axial      the patient's right on the left of the picture, anterior up (seen from the feet)
    coronal    the patient's right on the left, superior up (seen from the front)
    sagittal   anterior on the left, superior up (seen from the patient's left)

A slice of an oblique volume is shown as the anatomical plane that is nearest to it. Photographs and films saved as
PNG, JPEG, TIFF or BMP say nothing about the patient's directions: they are shown as they are, without letters.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.files import full_suffix
from SAMFinetuneLogic.imaging.axes import ANATOMICAL_AXES, AXES, Axis, resolve_axis
from SAMFinetuneLogic.imaging.volume import Volume

_WITHOUT_ORIENTATION = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

# For each plane: the RAS directions of the picture's right and lower side, and the letters of left, right, top, bottom.
_RIGHT_DOWN = {
    "axial": ((-1, 0, 0), (0, -1, 0), ("R", "L", "A", "P")),
    "coronal": ((-1, 0, 0), (0, 0, -1), ("R", "L", "S", "I")),
    "sagittal": ((0, -1, 0), (0, 0, -1), ("A", "P", "S", "I")),
}


@dataclass(frozen=True)
class Display:
    """The turn from a slice's (row, col) to the picture: transpose first, then flip.

    Attributes:
        plane: axial, coronal or sagittal.
        letters: the patient's directions at the picture's left, right, top and bottom; empty where unknown.
    """

    plane: str
    transpose: bool
    flip_rows: bool
    flip_cols: bool
    letters: tuple[str, str, str, str]

    def array(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (rows, cols) or (rows, cols, 3) as they are shown."""
        shown = pixels.swapaxes(0, 1) if self.transpose else pixels
        return shown[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]

    def pair(self, row: float, col: float) -> tuple[float, float]:
        """What belongs to rows and to columns (a spacing, say) as (vertical, horizontal)."""
        return (col, row) if self.transpose else (row, col)

    def positions(self, points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Positions (N, 2) (row, col) of a slice of ``shape`` to (N, 2) (row, col) of the shown array."""
        shown = np.array(points, dtype=float).reshape(-1, 2)[:, :: -1 if self.transpose else 1].copy()
        rows, cols = self.pair(*shape)
        if self.flip_rows:
            shown[:, 0] = rows - 1 - shown[:, 0]
        if self.flip_cols:
            shown[:, 1] = cols - 1 - shown[:, 1]
        return shown


def display_of(ijk_to_ras: np.ndarray, axis: Axis) -> Display:
    """How slices along ``axis`` of a grid with this (4, 4) affine are shown."""
    plane = next(name for name in ANATOMICAL_AXES if resolve_axis(name, ijk_to_ras) == axis)
    right, down, letters = _RIGHT_DOWN[plane]
    columns = np.asarray(ijk_to_ras, dtype=float)[:3, :3]
    directions = columns / np.linalg.norm(columns, axis=0)
    # A slice's rows run along the later of the two remaining voxel axes, its columns along the earlier one.
    col_axis, row_axis = (n for n, name in enumerate(AXES) if name != axis)
    row, col = directions[:, row_axis], directions[:, col_axis]
    transpose = abs(row @ right) + abs(col @ down) > abs(row @ down) + abs(col @ right)
    vertical, horizontal = (col, row) if transpose else (row, col)
    return Display(plane, bool(transpose), bool(vertical @ down < 0), bool(horizontal @ right < 0), letters)


def display_of_volume(volume: Volume, axis: Axis) -> Display:
    """How slices of a volume along ``axis`` are shown; without letters if its file's format knows no directions."""
    display = display_of(volume.ijk_to_ras, axis)
    if full_suffix(Path(volume.name)).lower() in _WITHOUT_ORIENTATION:
        return replace(display, plane="picture", letters=("", "", "", ""))
    return display
