"""The outline carried from slice to slice by the image: what moves or changes its shape takes the outline with it.

Neighbouring slices are registered without a model of what they show, by Demons with symmetric forces (Vercauteren et
al. 2009, NeuroImage 45; SimpleITK's), from coarse to fine, and the drawn outline is warped from each slice to the next.
Between two annotated slices the outlines that come from both are mixed by distance. It follows where the structure
goes, also where neither its gray values nor its edges tell it from its surroundings; errors add up with distance, and
what appears on a slice anew is not found.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import sqrt
from typing import ClassVar

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.gray import gray_part, reduced
from SAMFinetuneLogic.propagation.levels import Bounds, Patch, nothing, signed_distance, union_bounds
from SAMFinetuneLogic.propagation.regions import box_around, surroundings, widened
from SAMFinetuneLogic.propagation.reliability import ErrorCurve
from SAMFinetuneLogic.propagation.taper import expected_area, tapered

MARGIN = 0.5
"""Of the outline's box on each side, which is registered as well,"""
LEAST_MARGIN = 12
"""but at least so many pixels."""
REACH = 12
"""The distance to the outline is known up to so many pixels beyond its box."""
MAX_SIDE = 96
"""Cells of the longer side of what is registered: a finer image is averaged."""
ROUNDS = (15, 10, 5)
"""Iterations at a quarter of the cells, at half, and at all of them."""
SMOOTHING = 1.0
"""Standard deviation, in cells, over which displacements are averaged in each iteration."""
_LEAST_SIDE = 16


def displacement(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Where each pixel of ``fixed`` is found in ``moving``.

    Args:
        moving, fixed: float32 (rows, cols), gray values.

    Returns:
        float32 (2, rows, cols): rows and columns to add.
    """
    rows, cols = fixed.shape
    factor = max(rows / MAX_SIDE, cols / MAX_SIDE, 1.0)
    found: np.ndarray | None = None
    for level, rounds in enumerate(ROUNDS):
        shrunk = factor * 2 ** (len(ROUNDS) - 1 - level)
        cells = max(round(rows / shrunk), 1), max(round(cols / shrunk), 1)
        if min(cells) < _LEAST_SIDE and level < len(ROUNDS) - 1:
            continue
        start = np.zeros((2, *cells), dtype=np.float32) if found is None else _resized(found, cells)
        found = _demons(reduced(moving, cells), reduced(fixed, cells), start, rounds)
    assert found is not None
    return _resized(found, (rows, cols))


def warped(plane: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """A plane (rows, cols) of the moving slice as it lies on the fixed one, by :func:`displacement`."""
    places = np.indices(plane.shape, dtype=np.float32) + moved
    return np.asarray(ndimage.map_coordinates(plane, places, order=1, mode="nearest"))


def _demons(moving: np.ndarray, fixed: np.ndarray, start: np.ndarray, rounds: int) -> np.ndarray:
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(rounds)
    demons.SetStandardDeviations(SMOOTHING)
    field = sitk.GetImageFromArray(np.moveaxis(start[::-1], 0, 2).astype(np.float64), isVector=True)
    with _one_thread():
        found = demons.Execute(sitk.GetImageFromArray(fixed), sitk.GetImageFromArray(moving), field)
    return np.moveaxis(sitk.GetArrayFromImage(found), 2, 0)[::-1].astype(np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Handing such small images out to several threads takes ITK longer than the work; its filters inside of filters
    heed the global number alone."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _resized(moved: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """A displacement on another number of cells, and in their units."""
    if moved.shape[1:] == cells:
        return moved
    ratios = [new / old for new, old in zip(cells, moved.shape[1:], strict=True)]
    planes = [
        ratio * ndimage.zoom(plane, ratios, order=1, mode="nearest", grid_mode=True)
        for plane, ratio in zip(moved, ratios, strict=True)
    ]
    return np.stack(planes).astype(np.float32)


class MotionCandidate:
    """Carries the outlines of each segment along.

    Args:
        volume, window: the image.
        annotations: all of the volume.
        extents: of each segment by its value; towards an end the outline shrinks, by less where the end is known.
        cancelled: asked before each registration.
    """

    name: ClassVar[str] = "motion"
    of_network: ClassVar[bool] = False
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.04, 0.17)

    def __init__(
        self,
        volume: Volume,
        window: Window,
        annotations: Annotations,
        extents: Mapping[int, Extent],
        cancelled: CancelCheck | None = None,
    ) -> None:
        self._tracks = _Tracks(volume, window, annotations, cancelled)
        self._extents = extents

    def fit(self, annotations: Annotations) -> "MovedOutlines":
        return MovedOutlines(annotations, self._tracks, self._extents)


class _Tracks:
    """The outlines that come from drawn slices, upwards and downwards, computed once as far as they are asked for.

    A track depends on the slice that it starts from alone, so that leaving another slice out changes nothing in it.
    """

    def __init__(self, volume: Volume, window: Window, annotations: Annotations, cancelled: CancelCheck | None) -> None:
        self._volume = volume
        self._window = window
        self._annotations = annotations
        self._cancelled = cancelled
        self._tracks: dict[tuple[int, int, int], list[Patch]] = {}

    def at(self, value: int, start: int, index: int) -> Patch:
        """The levels on slice ``index`` of what is drawn on slice ``start``."""
        direction = 1 if index > start else -1
        key = value, start, direction
        if key not in self._tracks:
            mask = self._annotations.masks[value][start]
            self._tracks[key] = [Patch.of(signed_distance(mask, self._annotations.spacing), mask.shape)]
        track = self._tracks[key]
        while len(track) <= abs(index - start):
            if not track[-1].area:
                return track[-1]
            raise_if_cancelled(self._cancelled)
            track.append(self._next(track[-1], start + direction * (len(track) - 1), direction))
        return track[abs(index - start)]

    def _next(self, patch: Patch, index: int, direction: int) -> Patch:
        """The levels of slice ``index`` on the slice after it; the part that is registered goes along."""
        bounds = surroundings([patch.mask()], patch.shape, MARGIN, LEAST_MARGIN)
        moved = displacement(self._pixels(index, bounds), self._pixels(index + direction, bounds))
        return Patch.of(warped(patch.levels(bounds), moved), patch.shape, bounds[0], bounds[1])

    def _pixels(self, index: int, bounds: Bounds) -> np.ndarray:
        return gray_part(self._volume, self._window, SliceIndex(self._annotations.axis, index), bounds)


class MovedOutlines:
    """The outlines of a fit."""

    def __init__(self, annotations: Annotations, tracks: _Tracks, extents: Mapping[int, Extent]) -> None:
        self._annotations = annotations
        self._tracks = tracks
        self._extents = extents

    def predict(self, value: int, index: int) -> Patch | None:
        below, above = self._annotations.neighbours(value, index)
        from_below, from_above = self._is_drawn(value, below), self._is_drawn(value, above)
        if below is not None and above is not None and from_below and from_above:
            share = (index - below) / (above - below)
            return _mixed(self._tracks.at(value, below, index), self._tracks.at(value, above, index), share)
        if below is not None and from_below:
            return self._alone(value, below, above, index)
        if above is not None and from_above:
            return self._alone(value, above, below, index)
        return None

    def _is_drawn(self, value: int, index: int | None) -> bool:
        return index is not None and bool(self._annotations.masks[value][index].any())

    def _alone(self, value: int, start: int, empty: int | None, index: int) -> Patch:
        """From one side; ``empty`` is the nearest slice on the other side, on which the structure is absent."""
        annotations, extent, moved = self._annotations, self._extents[value], self._tracks.at(value, start, index)
        if empty is not None:
            return _shrunk(moved, (index - start) / (empty - start), annotations)
        end = extent.above if index > start else extent.below
        if end is None:
            return moved
        if end in extent.known_ends(annotations.present(value)):
            expected = expected_area(annotations, value, extent, start, end, index)
            return tapered(moved, expected, annotations.spacing)
        return _shrunk(moved, (index - start) / (end - start), annotations)

    def level(self, value: int, index: int) -> tuple[Bounds, np.ndarray] | None:
        """The signed distance to the moved outline in a part of the slice; None where it is absent."""
        patch = self.predict(value, index)
        if patch is None or not patch.area:
            return None
        bounds = widened(box_around([patch.mask()]), (REACH, REACH), patch.shape)
        return bounds, signed_distance(patch.levels(bounds) > 0, self._annotations.spacing)

    def distance(self, value: int, index: int) -> float:
        return self._annotations.distance(value, index)


def _mixed(low: Patch, high: Patch, share: float) -> Patch:
    bounds = union_bounds([low, high])
    if bounds is None:
        return low
    levels = (1 - share) * low.levels(bounds) + share * high.levels(bounds)
    return Patch.of(levels, low.shape, bounds[0], bounds[1])


def _shrunk(patch: Patch, done: float, annotations: Annotations) -> Patch:
    """An outline on its way to where the structure ends, as a round one would shrink; ``done`` is 1 at the end."""
    bounds = patch.bounds
    if done >= 1 or bounds is None or not patch.area:
        return nothing(annotations.shape)
    depth = signed_distance(patch.levels(bounds) > 0, annotations.spacing)
    return Patch.of(depth - float(depth.max()) * (1 - sqrt(1 - done)), annotations.shape, bounds[0], bounds[1])
