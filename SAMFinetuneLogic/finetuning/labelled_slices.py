"""What is learned from: labelled slices as bytes, with all that is needed to show them to any model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex, array_axis
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.resampling import same_grid
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.slice_image import SliceImage

BYTES = Window(0.0, 255.0, "as_is")
"""The window of pixels that have been windowed already."""


@dataclass(frozen=True, eq=False)
class LabelledSlice:
    """One slice with its labels.

    Attributes:
        pixels: uint8 (rows, cols) or (rows, cols, 3), windowed.
        labels: uint16 (rows, cols).
        spacing: (row_mm, col_mm).
        group: number of the image that it comes from.
        slice: where in that image.
        plane: axial, coronal or sagittal, by the image's affine; empty where it is not known.
    """

    pixels: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float]
    group: int
    slice: SliceIndex
    plane: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is labelled: the structures are known to be absent."""
        return not self.labels.any()

    @property
    def image(self) -> SliceImage:
        """For the predictor."""
        return SliceImage(self.pixels, self.spacing, self.slice, BYTES)


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Labelled slices of one or more images.

    Attributes:
        slices: in the order of images, then of indices.
        segments: what the labels mean, ascending by value.
        images: names of the images, by group.
        windows: of the images, by group.
        turned: whether slices are turned to the radiological view (automatic mode) or lie as they are stored.
    """

    slices: tuple[LabelledSlice, ...]
    segments: tuple[Segment, ...]
    images: tuple[str, ...]
    windows: tuple[Window, ...]
    turned: bool = False

    @property
    def values(self) -> tuple[int, ...]:
        """The labels' values, ascending."""
        return tuple(segment.value for segment in self.segments)

    def title(self, number: int) -> str:
        """A slice's name for records: image, axis and index."""
        entry = self.slices[number]
        return f"{self.images[entry.group] or entry.group} {entry.slice.axis}={entry.slice.index}"

    def subset(self, numbers: Iterable[int]) -> "LabelledSet":
        """Only these slices."""
        return replace(self, slices=tuple(self.slices[number] for number in numbers))


def labelled_slices(
    volume: Volume,
    labels: LabelMap,
    window: Window,
    axis: Axis = "k",
    indices: Sequence[int] | None = None,
    turned: bool = False,
) -> LabelledSet:
    """The labelled slices of one image.

    Args:
        labels: on the grid of the image.
        indices: the annotated slices; one without labels says that nothing is there. None for all with labels.
        turned: to the radiological view.

    Raises:
        GeometryError: another grid, or an index outside of the image.
        InputError: nothing is labelled on the slices.
    """
    if not same_grid(labels, volume):
        raise GeometryError("The label map lies on another grid than the image; resample it to the image first.")
    by_slice = np.moveaxis(labels.voxels, array_axis(axis), 0)
    if indices is None:
        indices = np.flatnonzero(by_slice.reshape(len(by_slice), -1).any(axis=1)).tolist()
    plane = Plane.of(volume, axis, window)
    found = []
    for index in sorted(set(indices)):
        where = SliceIndex(axis, int(index))
        image = plane.image(where.index) if turned else SliceImage.of(volume, where, window)
        drawn = plane.turn(by_slice[where.index]) if turned else by_slice[where.index]
        pixels, shown = image.to_uint8(), drawn.astype(np.uint16)
        found.append(LabelledSlice(pixels, shown, image.spacing, 0, where, plane.display.plane))
    present = {int(value) for entry in found for value in np.unique(entry.labels)} - {0}
    if not present:
        raise InputError("Nothing is labelled on the slices: draw the structure on at least two slices.")
    segments = tuple(segment for segment in labels.segments if segment.value in present)
    return LabelledSet(tuple(found), segments, (volume.name,), (window,), turned)


def joined(parts: Sequence[LabelledSet], mixed: bool = False) -> LabelledSet:
    """The slices of several images as one set.

    Args:
        mixed: the images are of different data sets, whose labels have nothing to do with each other: each structure
            of each image becomes a class of its own, with a new value.

    Raises:
        InputError: no parts, or parts that are turned differently or give one value two names.
    """
    if not parts:
        raise InputError("There are no labelled slices: give at least one image with its label map.")
    if mixed:
        parts = _renumbered(parts)
    segments: dict[int, Segment] = {}
    slices: list[LabelledSlice] = []
    images: list[str] = []
    windows: list[Window] = []
    for part in parts:
        if part.turned != parts[0].turned:
            raise InputError("Slices of different orientation cannot be learned from together; make them anew.")
        for segment in part.segments:
            known = segments.setdefault(segment.value, segment)
            if known.name != segment.name and not _unnamed(known) and not _unnamed(segment):
                raise InputError(
                    f"Label {segment.value} is called {known.name!r} in one image and {segment.name!r} in another: "
                    "give each structure one value."
                )
            if _unnamed(known):
                segments[segment.value] = segment
        slices += [replace(entry, group=entry.group + len(images)) for entry in part.slices]
        images += part.images
        windows += part.windows
    ordered = tuple(segments[value] for value in sorted(segments))
    return LabelledSet(tuple(slices), ordered, tuple(images), tuple(windows), parts[0].turned)


def _renumbered(parts: Sequence[LabelledSet]) -> list[LabelledSet]:
    """With values that occur in one part only, and names that say of which image they are."""
    result, used = [], 0
    for part in parts:
        new = {value: used + number + 1 for number, value in enumerate(part.values)}
        used += len(new)
        table = np.zeros(max(new) + 1, dtype=np.uint16)
        table[list(new)] = list(new.values())
        slices = tuple(
            replace(
                entry, labels=np.where(entry.labels < len(table), table[np.minimum(entry.labels, len(table) - 1)], 0)
            )
            for entry in part.slices
        )
        names = "+".join(part.images)
        segments = tuple(replace(s, value=new[s.value], name=f"{names}: {s.name}") for s in part.segments)
        result.append(replace(part, slices=slices, segments=segments))
    return result


def _unnamed(segment: Segment) -> bool:
    return segment.name == f"Segment_{segment.value}"
