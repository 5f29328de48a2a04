"""What gray values say about an answer: histograms of the structure and of the rest, improved in turn with the answer.

As in GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004), with a mean field in place of the cut; what was believed
before, such as a network's logits, stays as it is.
"""

from collections.abc import Iterable

import numpy as np
import torch
from scipy import ndimage, special
from torch.nn import functional

_MAX_LOGIT = 20.0
_MAX_SIDE = 96
"""Cells of the longer side of what is looked at; a finer image is averaged."""
_SMOOTH = 1 / 80
"""Of the structure's longer side: by so much gray values and evidence are smoothed, at least by half a cell."""
_LEVELS = 32
_LEVEL_SMOOTH = 1.5
_PRIOR_PIXELS = 4.0
"""What every histogram holds before anything is counted."""
_OUTSIDE, _OUTSIDE_SLOPE = 1.0, 40.0
"""Log-odds against what lies outside of a box, and more per side of the box."""
_NEIGHBOURS = 2.0
"""Log-odds for a cell all of whose neighbours are inside,"""
_NEIGHBOURHOOD = 2.0
"""which are weighted by a Gaussian so many times as wide as the smoothing."""


class GrayRegion:
    """The part of an image in and around a structure, on cells of at most 96 a side.

    Cells are square in mm, but never smaller than a pixel along either axis: thick slices seen from the side keep all
    their rows.

    Args:
        gray: (rows, cols), any values.
        logits: float32 (rows, cols), the network's answer.
        spacing: (row_mm, col_mm).
        low: the part's first row and column,
        high: and those after its last ones.
        sides: the structure's rows and columns.

    Attributes:
        cells: (rows, cols) of the part's cells.
        answer: the network's logits on them.
        levels: the rank of each cell's gray value among all, in 32 classes.
        has_contrast: whether the gray values differ at all.
    """

    def __init__(
        self,
        gray: np.ndarray,
        logits: np.ndarray,
        spacing: tuple[float, float],
        low: np.ndarray,
        high: np.ndarray,
        sides: np.ndarray,
    ) -> None:
        self._logits, self._low, self._lengths = logits, low, high - low
        self._place = slice(low[0], high[0]), slice(low[1], high[1])
        size = self._lengths * np.array(spacing)
        cells = np.minimum(self._lengths, np.maximum(1, np.round(size * _MAX_SIDE / size.max())))
        self.cells = tuple(int(n) for n in cells)
        cell = size / cells
        self._sigma = max(0.5 * float(cell.min()), _SMOOTH * float((sides * spacing).max())) / cell
        values = ndimage.gaussian_filter(self.reduced(gray[self._place]), self._sigma)
        self.has_contrast = bool(np.ptp(values) > 0)
        ranks = np.searchsorted(np.sort(values, axis=None), values, side="right") - 1
        self.levels = ranks * _LEVELS // values.size
        self.answer = self.reduced(logits[self._place])

    def settle(self, believed: np.ndarray, inside: np.ndarray, rounds: int) -> np.ndarray:
        """Histograms and answer in turn; the log-odds of each cell after the last round.

        Args:
            believed: log-odds before gray values are looked at.
            inside: the probabilities to begin with.
            rounds: how many.
        """
        odds = believed
        for _ in range(rounds):
            evidence = np.log(self.histogram(inside)) - np.log(self.histogram(1 - inside))
            seen = ndimage.gaussian_filter(evidence[self.levels], self._sigma)
            around = 2 * ndimage.gaussian_filter(inside, _NEIGHBOURHOOD * self._sigma) - 1
            odds = believed + seen + _NEIGHBOURS * around
            inside = special.expit(odds)
        return odds

    def histogram(self, weights: np.ndarray) -> np.ndarray:
        """The share of each level among cells that count with ``weights``."""
        counted = np.bincount(self.levels.ravel(), weights.ravel(), _LEVELS)
        smooth = ndimage.gaussian_filter1d(counted, _LEVEL_SMOOTH, mode="nearest") + _PRIOR_PIXELS / _LEVELS
        return smooth / smooth.sum()

    def against_outside(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Log-odds of each cell against what lies outside of a box: drawn boxes are a little wrong.

        Args:
            first: the box's first row and column on the image,
            last: and its last ones.
        """
        sides, high = last - first + 1, self._low + self._lengths
        away = [_distance(self._low[n], high[n], first[n], last[n]) / sides[n] for n in range(2)]
        distance = self.reduced(np.maximum(away[0][:, None], away[1][None]))
        return np.where(distance < 0.5 / sides.max(), 0.0, _OUTSIDE + _OUTSIDE_SLOPE * distance)

    def cells_of(self, pixels: np.ndarray) -> np.ndarray:
        """The cells (N, 2) that pixels (N, 2) of the image lie in, which are to be in the part."""
        return np.floor((pixels - self._low + 0.5) * self.cells / self._lengths).astype(int)

    def on_image(self, odds: np.ndarray) -> np.ndarray:
        """Log-odds as logits float32 (rows, cols) on the image; elsewhere what the network says, but not inside."""
        logits = np.minimum(self._logits, -_MAX_LOGIT)
        logits[self._place] = np.clip(_resized(odds, self._lengths), -_MAX_LOGIT, _MAX_LOGIT)
        return logits.astype(np.float32)

    def reduced(self, plane: np.ndarray) -> np.ndarray:
        """Values on the part's pixels as means on its cells."""
        return _resized(plane, self.cells)


def _distance(low: int, high: int, first: int, last: int) -> np.ndarray:
    """Of each pixel from ``low`` to before ``high`` from the range from ``first`` to ``last``."""
    at = np.arange(low, high)
    return np.maximum(np.maximum(first - at, at - last), 0).astype(float)


def _resized(plane: np.ndarray, size: Iterable[int]) -> np.ndarray:
    wanted = tuple(int(n) for n in size)
    if plane.shape == wanted:
        return plane.astype(np.float64)
    tensor = torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float64))[None, None]
    return functional.interpolate(tensor, wanted, mode="bilinear", align_corners=False, antialias=True)[0, 0].numpy()
