"""Label maps and the names and colours of their segments."""

import colorsys
from dataclasses import dataclass, field

import numpy as np

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.geometry import as_affine, spacing_of

MAX_LABEL = np.iinfo(np.uint16).max
_PART = 2**14

# Okabe and Ito's colours, which people with colour-blindness can tell apart, without black: it would vanish.
DEFAULT_COLORS: tuple[tuple[float, float, float], ...] = (
    (0.00, 0.62, 0.45),  # green
    (0.90, 0.62, 0.00),  # orange
    (0.34, 0.71, 0.91),  # sky blue
    (0.80, 0.47, 0.65),  # purple
    (0.94, 0.89, 0.26),  # yellow
    (0.84, 0.37, 0.00),  # vermilion
    (0.00, 0.45, 0.70),  # blue
)


def segment_color(n: int) -> tuple[float, float, float]:
    """The default colour (red, green, blue in 0..1) of the n-th segment, counted from 0."""
    if n < len(DEFAULT_COLORS):
        return DEFAULT_COLORS[n]
    # Steps of the golden ratio never come close to an earlier hue for long.
    return colorsys.hsv_to_rgb((n * 0.618034) % 1.0, 0.65, 0.9)


@dataclass(frozen=True)
class Segment:
    """One structure of a label map.

    Attributes:
        value: its voxels' value, 1 to 65535 (0 is the background).
        name: shown to the user.
        color: red, green, blue in 0..1.
    """

    value: int
    name: str
    color: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 1 <= self.value <= MAX_LABEL:
            raise InputError(f"Label {self.value} of segment {self.name!r} must lie between 1 and {MAX_LABEL}.")
        if len(self.color) != 3 or not all(0.0 <= part <= 1.0 for part in self.color):
            raise InputError(f"The colour of segment {self.name!r} must be three numbers between 0 and 1.")


def default_segment(value: int) -> Segment:
    """A segment for a label that nobody has named."""
    return Segment(value, f"Segment_{value}", segment_color(value - 1))


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels on a regular grid; each voxel belongs to one segment or to the background.

    Attributes:
        voxels: (k, j, i) uint8 or uint16; other integers and booleans are converted when they fit.
        ijk_to_ras: (4, 4) float64, read-only; maps the centre of voxel (i, j, k) to RAS in mm.
        segments: in ascending order of value. Each label that occurs has one: those not given get a default name
            and colour. A segment may be empty.
        name: for messages; the file's name, never the patient's.

    Raises:
        GeometryError: the voxels are not a volume, or the matrix is not an invertible affine.
        InputError: values that are no labels, or two segments with one value.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    segments: tuple[Segment, ...] = ()
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        voxels = np.asarray(self.voxels)
        if voxels.ndim != 3 or voxels.size == 0:
            raise GeometryError(f"A label map has shape (k, j, i), not {voxels.shape}; choose one component or layer.")
        object.__setattr__(self, "voxels", as_labels(voxels))
        object.__setattr__(self, "ijk_to_ras", as_affine(self.ijk_to_ras))
        given = {segment.value: segment for segment in self.segments}
        if len(given) != len(self.segments):
            raise InputError("Two segments of a label map have the same value; give each its own.")
        present = label_values(self.voxels)
        complete = {value: given.get(value) or default_segment(value) for value in {*present, *given}}
        object.__setattr__(self, "segments", tuple(complete[value] for value in sorted(complete)))

    @classmethod
    def of_known(
        cls, voxels: np.ndarray, ijk_to_ras: np.ndarray, segments: tuple[Segment, ...], name: str = ""
    ) -> "LabelMap":
        """A label map whose labels are known: its voxels are not looked through, which takes long in large volumes.

        Args:
            voxels: (k, j, i) uint8 or uint16, not copied, not to be changed afterwards.
            segments: one for each label that occurs, in ascending order of value.
        """
        labels = object.__new__(cls)
        content = {"voxels": as_labels(voxels), "ijk_to_ras": as_affine(ijk_to_ras), "segments": segments, "name": name}
        for attribute, value in content.items():
            object.__setattr__(labels, attribute, value)
        return labels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (k, j, i)."""
        k, j, i = self.voxels.shape
        return k, j, i

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (i, j, k), in mm."""
        return spacing_of(self.ijk_to_ras)

    def mask(self, value: int) -> np.ndarray:
        """Boolean (k, j, i): where the label is ``value``."""
        return self.voxels == value


def as_labels(values: np.ndarray) -> np.ndarray:
    """A read-only uint8 or uint16 array with the same values.

    Whole numbers in floating point are accepted, since several tools save label maps that way. An array that is
    uint8 or uint16 already is not copied.

    Raises:
        InputError: negative, fractional, not finite, or larger than 65535.
    """
    if values.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        if values.dtype.kind not in "biuf":
            raise InputError(f"Labels must be whole numbers, not {values.dtype}; choose a label map.")
        if values.dtype.kind == "f" and not (np.isfinite(values).all() and np.array_equal(values, np.round(values))):
            raise InputError("Labels must be whole numbers, but some values are fractions; choose a label map.")
        lowest, highest = int(values.min()), int(values.max())
        if lowest < 0 or highest > MAX_LABEL:
            raise InputError(f"Labels must lie between 0 and {MAX_LABEL}, but values reach {lowest} to {highest}.")
        values = values.astype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16)
    labels = values.view()
    labels.flags.writeable = False
    return labels


def label_values(voxels: np.ndarray) -> tuple[int, ...]:
    """The labels other than 0 that occur in a uint8 or uint16 array, ascending."""
    flat = voxels.reshape(-1)
    counts = np.zeros(int(flat.max(initial=0)) + 1, dtype=np.int64)
    # bincount takes eight bytes a value: in parts, so that a large volume does not need them all at once. Most parts
    # are background alone, which is seen twenty times as fast.
    for start in range(0, flat.size, _PART):
        part = flat[start : start + _PART]
        if part.max() > 0:
            counts += np.bincount(part, minlength=counts.size)
    return tuple(int(value) for value in np.flatnonzero(counts[1:]) + 1)
