"""What the other candidates say together, corrected by a network that has learned on this volume where they go wrong.

On each annotated slice it is known what the candidates would have said without that slice. From this, the image, and
what is drawn there, a :mod:`small network <SAMFinetuneLogic.propagation.context_network>` learns the correction, for
each segment. The annotated slices are dealt out to folds, and each network learns without one of them: so its answer on
that fold measures it honestly, and on the other slices of the volume the networks' mean counts. From a single slice
nothing can be left out: there the network learns to correct outlines that are moved, scaled and bent at random.
Learning from the image and from the answer of a stage before is the idea of auto-context (Tu and Bai, IEEE TPAMI 2010);
the rest is our own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.context_network import MULTIPLE, ContextNetwork, Example, corrected, learn
from SAMFinetuneLogic.propagation.gray import gray_part
from SAMFinetuneLogic.propagation.levels import LIMIT, Bounds, Patch, signed_distance, union_bounds
from SAMFinetuneLogic.propagation.regions import box_around, sides_of, widened
from SAMFinetuneLogic.propagation.reliability import ErrorCurve

MARGIN = 0.3
"""Of the longer side of all outlines' box, added on each side of what the network sees,"""
LEAST_MARGIN = 8
"""but at least so many pixels."""
MAX_SIDE = 96
"""Cells of the longer side of what the network sees: a finer image is averaged."""
MAX_ZOOM = 2.0
"""A coarser one is enlarged by up to this."""
STEPS = 120
FOLDS = 3


class LearnedAlone:
    """What to expect of a correction that was learned on a single slice: nothing has measured it."""

    name: ClassVar[str] = "auto-context"
    of_network: ClassVar[bool] = False
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.05, 0.22)


class AutoContext:
    """Corrects expected outlines by what was learned on the annotated slices.

    Args:
        volume, window: the image.
        annotations: of the volume.
        on_step: called before each training step; it may raise to stop.
        on_fold: called after each training.
    """

    name: ClassVar[str] = "auto-context"
    of_network: ClassVar[bool] = False
    curve: ClassVar[ErrorCurve] = ErrorCurve(0.04, 0.15)

    def __init__(
        self,
        volume: Volume,
        window: Window,
        annotations: Annotations,
        on_step: Callable[[], None] = lambda: None,
        on_fold: Callable[[], None] = lambda: None,
    ) -> None:
        self._volume = volume
        self._window = window
        self._annotations = annotations
        self._on_step = on_step
        self._on_fold = on_fold
        self._views: dict[int, View] = {}
        self._networks: dict[int, list[ContextNetwork]] = {}

    @staticmethod
    def folds(slices: int) -> int:
        """How many networks are trained on so many slices of a segment."""
        return min(slices, FOLDS)

    def learn(self, value: int, expected: Mapping[int, Patch]) -> dict[int, Patch]:
        """Learn to correct a segment.

        Args:
            expected: what the candidates say on annotated slices, each slice left out in turn.

        Returns:
            The corrected levels on these slices, by networks that did not learn from them; nothing for one slice.
        """
        indices = sorted(expected)
        if len(indices) < 2:
            return {}
        count = self.folds(len(indices))
        view = View.of(self._annotations, value, list(expected.values()))
        examples = {index: self._example(view, value, index, expected[index]) for index in indices}
        networks, found = [], {}
        for fold in range(count):
            tested = indices[fold::count]
            network = learn(
                [examples[index] for index in indices if index not in tested], STEPS, seed=fold, on_step=self._on_step
            )
            for index in tested:
                found[index] = view.added(expected[index], corrected([network], examples[index].seen))
            networks.append(network)
            self._on_fold()
        self._views[value], self._networks[value] = view, networks
        return found

    def learn_alone(self, value: int) -> None:
        """Learn to correct a segment that is drawn on a single slice."""
        (index,) = self._annotations.present(value)
        mask = self._annotations.masks[value][index]
        drawn = Patch.of(signed_distance(mask, self._annotations.spacing), mask.shape)
        view = View.of(self._annotations, value, [drawn])
        example = self._example(view, value, index, drawn)
        network = learn([example], STEPS, seed=0, on_step=self._on_step, invent_errors=True)
        self._views[value], self._networks[value] = view, [network]
        self._on_fold()

    def judged(self, value: int) -> "AutoContext | LearnedAlone":
        """Whose expected error a correction of the segment has."""
        return LearnedAlone() if len(self._annotations.present(value)) == 1 else self

    def correct(self, value: int, index: int, expected: Patch) -> Patch | None:
        """The corrected levels of a slice; None where nothing was learned. What is expected to be absent is."""
        if value not in self._networks or not expected.area:
            return None
        view = self._views[value]
        return view.added(expected, corrected(self._networks[value], self._seen(view, index, expected)))

    def _example(self, view: "View", value: int, index: int, expected: Patch) -> Example:
        row0, col0, row1, col1 = view.bounds
        drawn = self._annotations.masks[value][index][row0 : row1 + 1, col0 : col1 + 1]
        return Example(self._seen(view, index, expected), view.reduced(drawn.astype(np.float32)[None])[0])

    def _seen(self, view: "View", index: int, expected: Patch) -> torch.Tensor:
        last = self._annotations.count - 1
        around = [min(max(index + step, 0), last) for step in (-1, 0, 1)]
        places = [SliceIndex(self._annotations.axis, each) for each in around]
        images = np.stack([gray_part(self._volume, self._window, place, view.bounds) for place in places])
        levels = expected.levels(view.bounds)[None] / LIMIT
        return torch.cat([view.reduced(images / 127.5 - 1), view.reduced(levels), view.places()])


class View:
    """The part of every slice that a segment's networks see.

    Args:
        bounds: of the slice.
        cells: (h, w) of the network's input.
    """

    def __init__(self, bounds: Bounds, cells: tuple[int, int]) -> None:
        self.bounds = bounds
        self.cells = cells

    @classmethod
    def of(cls, annotations: Annotations, value: int, expected: Sequence[Patch]) -> "View":
        """Around all outlines of a segment, drawn and expected."""
        box = box_around([*annotations.masks[value].values(), *(patch.mask() for patch in expected)])
        margin = max(LEAST_MARGIN, round(MARGIN * max(sides_of(box))))
        bounds = widened(box, (margin, margin), annotations.shape)
        sides = np.array(sides_of(bounds), dtype=float)
        sides *= min(MAX_ZOOM, MAX_SIDE / sides.max())
        cells = np.maximum(np.round(sides / MULTIPLE), 1).astype(int) * MULTIPLE
        return cls(bounds, (int(cells[0]), int(cells[1])))

    def reduced(self, planes: np.ndarray) -> torch.Tensor:
        """Planes (n, rows, cols) of the part, averaged to cells (n, h, w)."""
        tensor = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))[None]
        return functional.interpolate(tensor, self.cells, mode="bilinear", align_corners=False, antialias=True)[0]

    def places(self) -> torch.Tensor:
        """Row and column (2, h, w) of each cell, from -1 to 1."""
        rows, cols = (torch.linspace(-1, 1, count) for count in self.cells)
        return torch.stack(torch.meshgrid(rows, cols, indexing="ij"))

    def added(self, patch: Patch, correction: np.ndarray) -> Patch:
        """Levels with a correction (h, w) added; outside of the part they stay as they are."""
        row0, col0, *_ = self.bounds
        rows, cols = sides_of(self.bounds)
        finer = functional.interpolate(
            torch.from_numpy(correction)[None, None], (rows, cols), mode="bilinear", align_corners=False
        )[0, 0].numpy()
        within = Patch.of(np.zeros((rows, cols)), patch.shape, row0, col0)
        bounds = union_bounds([patch, within])
        assert bounds is not None
        levels = patch.levels(bounds)
        top, left = row0 - bounds[0], col0 - bounds[1]
        levels[top : top + rows, left : left + cols] += finer
        return Patch.of(levels, patch.shape, bounds[0], bounds[1])
