"""The structure grown from what is drawn, against its surroundings, along the paths on which the image changes least.

Each voxel goes to whichever of two kinds of seed is nearer: the structure, or anything else, on the annotated slices.
Where the user said on which slice the structure ends, the slice beyond is anything else, too, from some way off: how
it gets there is not known.
A path is as long as the gray values along it change. It follows what the image shows where the outline moves or changes
between slices by more than interpolation can know; where there is no contrast it is ragged, and leaving annotated
slices out tells so. The idea is that of GrowCut in its shortest-path form (Zhu et al., "An effective interactive
medical image segmentation method using fast GrowCut", MICCAI workshop 2014); the sweeps are our own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.gray import gray_part, reduced
from SAMFinetuneLogic.propagation.levels import Bounds, Patch, nothing, signed_distance
from SAMFinetuneLogic.propagation.regions import sides_of, surroundings
from SAMFinetuneLogic.propagation.reliability import ErrorCurve
from SAMFinetuneLogic.propagation.taper import tapering

MARGIN = 0.5
"""Of the drawn outlines' box on each side, in which the structure may be found,"""
LEAST_MARGIN = 12
"""but at least so many pixels."""
MAX_SIDE = 256
"""Cells of the region's longer side: a finer image is averaged."""
MAX_VOXELS = 1_500_000
"""Cells of the region over all slices; above, it is averaged more."""
BYTES_PER_CELL = 64
"""Memory while a segment is grown; four of them stay."""
DENOISING = 0.7
"""Standard deviation, in cells, over which a slice is averaged: a path adds up the noise on its way."""
SMOOTHING = 0.7
"""Standard deviation, in cells, over which the lead of one kind is averaged before it is cut at zero."""
ALIKE = 10.0
"""Gray values of 255: of the cells around a pixel, one that differs by so much counts a third (1 / e)."""
NEARBY = 0.6
"""Standard deviation, in cells, of their weights by distance."""
STEP_COST = 0.5
"""Of a step between equal gray values, in gray values of 255: of two paths without contrast the shorter one counts."""
END_LENGTH = 15.0
"""Of the paths that begin on the slice beyond an end, in gray values of 255, for what tapers as an ellipsoid does."""
_ROUNDS = 8
_CHANGE = 0.5


def path_lengths(gray: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Length of the shortest path from each voxel to a seed, through the six neighbours of each.

    Sweeps along the axes, forth and back, until little changes; each is exact along its lines.

    Args:
        gray: float32 (k, j, i).
        start: float32 of the same shape: the length of a path that ends here, 0 at a seed, infinite elsewhere. A seed
            that is not sure has a length to begin with.

    Returns:
        float32 of the same shape; infinite without seeds.
    """
    if not np.isfinite(start).any():
        return start
    # Of each axis the steps from plane to plane, the axis first: whole planes are updated at once.
    steps = [np.abs(np.diff(_first(gray, axis), axis=0)) + np.float32(STEP_COST) for axis in range(gray.ndim)]
    length = start
    for _ in range(_ROUNDS):
        before = length
        for axis, costs in enumerate(steps):
            planes = _first(length, axis)
            for n, cost in enumerate(costs):
                np.minimum(planes[n + 1], planes[n] + cost, out=planes[n + 1])
            for n in range(len(costs) - 1, -1, -1):
                np.minimum(planes[n], planes[n + 1] + costs[n], out=planes[n])
            length = np.moveaxis(planes, 0, axis)
        finite = np.isfinite(before)
        if finite.all() and float((before - length).max()) < _CHANGE:
            break
    return np.ascontiguousarray(length)


def _first(values: np.ndarray, axis: int) -> np.ndarray:
    """A copy with ``axis`` first, in the order of memory."""
    return np.array(np.moveaxis(values, axis, 0), order="C")


class GrowthCandidate:
    """Grows each segment from its annotated slices.

    Args:
        volume, window: the image.
        extents: of each segment by its value: the slices in which it may grow.
    """

    name: ClassVar[str] = "growth"
    of_network: ClassVar[bool] = False
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.04, 0.17)

    def __init__(self, volume: Volume, window: Window, extents: Mapping[int, Extent]) -> None:
        self._volume = volume
        self._window = window
        self._extents = extents

    def fit(self, annotations: Annotations) -> "GrownRegions":
        return GrownRegions(annotations, self._volume, self._window, self._extents)


@dataclass(frozen=True, eq=False)
class _Grown:
    """The lead (k, rows, cols) of the structure, from -1 to 1, in slices from ``first`` on, on cells in ``bounds``."""

    first: int
    bounds: Bounds
    lead: np.ndarray


class GrownRegions:
    """The regions of a fit; each segment is grown when it is first asked for."""

    def __init__(self, annotations: Annotations, volume: Volume, window: Window, extents: Mapping[int, Extent]) -> None:
        self._annotations = annotations
        self._volume = volume
        self._window = window
        self._extents = extents
        self._grown: dict[int, _Grown] = {}

    def predict(self, value: int, index: int) -> Patch | None:
        if not self._annotations.present(value):
            return None
        if value not in self._grown:
            self._grown[value] = self._grow(value)
        grown = self._grown[value]
        if not 0 <= index - grown.first < len(grown.lead):
            return nothing(self._annotations.shape)
        lead = grown.lead[index - grown.first]
        row0, col0, *_ = grown.bounds
        if lead.shape != sides_of(grown.bounds):
            lead = enlarged(lead, self._pixels(index, grown.bounds))
        mask = lead > 0
        if not mask.any():
            return nothing(self._annotations.shape)
        return Patch.of(signed_distance(mask, self._annotations.spacing), self._annotations.shape, row0, col0)

    def distance(self, value: int, index: int) -> float:
        return self._annotations.distance(value, index)

    def _grow(self, value: int) -> _Grown:
        annotations, extent = self._annotations, self._extents[value]
        known, ends = annotations.known(value), extent.known_ends(annotations.present(value))
        first, last = min(extent.first, known[0], *ends), max(extent.last, known[-1], *ends)
        bounds = surroundings(annotations.masks[value].values(), annotations.shape, MARGIN, LEAST_MARGIN)
        row0, col0, row1, col1 = bounds
        rows, cols = sides_of(bounds)
        factor = max(rows / MAX_SIDE, cols / MAX_SIDE, np.sqrt(rows * cols * (last - first + 1) / MAX_VOXELS), 1.0)
        cells = (max(1, round(rows / factor)), max(1, round(cols / factor)))
        gray = np.stack([reduced(self._pixels(index, bounds), cells) for index in range(first, last + 1)])
        gray = ndimage.gaussian_filter(gray, (0, DENOISING, DENOISING))
        inside = np.full(gray.shape, np.inf, dtype=np.float32)
        outside = inside.copy()
        for index in ends:
            outside[index - first] = END_LENGTH / max(tapering(annotations, value, extent), 0.1) ** 2
        for index in known:
            drawn = annotations.masks[value][index][row0 : row1 + 1, col0 : col1 + 1]
            share = reduced(drawn.astype(np.float32), cells)
            inside[index - first] = np.where(share > 0.5, 0, np.inf)
            outside[index - first] = np.where(share > 0.5, np.inf, 0)
        to_inside, to_outside = path_lengths(gray, inside), path_lengths(gray, outside)
        with np.errstate(invalid="ignore"):
            lead = (to_outside - to_inside) / (to_outside + to_inside)
        lead = np.nan_to_num(lead, nan=1.0 if not np.isfinite(outside).any() else -1.0)
        smooth = ndimage.gaussian_filter(lead, (0, SMOOTHING, SMOOTHING), mode="nearest")
        return _Grown(first, bounds, smooth.astype(np.float32))

    def _pixels(self, index: int, bounds: Bounds) -> np.ndarray:
        return gray_part(self._volume, self._window, SliceIndex(self._annotations.axis, index), bounds)


def enlarged(cells: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Values of cells at the pixels that they were averaged from: those of cells nearby that look alike count most.

    Joint bilateral up-sampling (Kopf et al. 2007): folds and gaps thinner than a cell come back.

    Args:
        cells: float32 (h, w).
        pixels: float32 (rows, cols) gray values of the same part of the slice.

    Returns:
        float32 (rows, cols).
    """
    grays = reduced(pixels, cells.shape)
    places = [
        (np.arange(count) + 0.5) * have / count - 0.5 for count, have in zip(pixels.shape, cells.shape, strict=True)
    ]
    before = [np.floor(place).astype(int) for place in places]
    total, weight = np.zeros_like(pixels), np.zeros_like(pixels)
    for down in (0, 1):
        for right in (0, 1):
            rows, cols = (
                np.clip(first + step, 0, have - 1)
                for first, step, have in zip(before, (down, right), cells.shape, strict=True)
            )
            off = [place - first - step for place, first, step in zip(places, before, (down, right), strict=True)]
            near = np.exp(-0.5 * (off[0][:, None] ** 2 + off[1] ** 2) / NEARBY**2).astype(np.float32)
            # Where none looks alike, the nearest ones count.
            alike = np.exp(-np.abs(pixels - grays[np.ix_(rows, cols)]) / ALIKE) + np.float32(1e-6)
            total += near * alike * cells[np.ix_(rows, cols)]
            weight += near * alike
    return np.asarray(total / weight)
