"""The slices of each training step. A batch depends on the seed and the step alone, so that training can resume."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.views import View, ViewMaker

_TRIES = 4
_ORDER, _POOLED, _POOL_CHOICE, _FRESH = range(4)
"""Streams of random numbers that must not meet."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from.

    Attributes:
        keys: identify the views where they are kept, else (None, ...).
        inputs: float32 (B, 3, S, S).
        masks: bool (B, classes, h, w).
        content: bool (B, h, w).
        chosen: int64 (B,) the class that is prompted for (prompt mode).
    """

    keys: tuple[Hashable, ...]
    inputs: torch.Tensor
    masks: torch.Tensor
    content: torch.Tensor
    chosen: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def targets(self) -> torch.Tensor:
        """The prompted structures, bool (B, h, w)."""
        return self.masks[torch.arange(len(self)), self.chosen]

    @property
    def labels(self) -> torch.Tensor:
        """int64 (B, h, w): 0 for background, else the number of the class from 1 on; of several the last one."""
        numbers = torch.arange(1, self.masks.shape[1] + 1).view(1, -1, 1, 1)
        return (self.masks * numbers).amax(1)

    def part(self, start: int, stop: int) -> "Batch":
        """Some of the slices."""
        rows = slice(start, stop)
        return Batch(self.keys[rows], self.inputs[rows], self.masks[rows], self.content[rows], self.chosen[rows])


class BatchMaker:
    """Draws batches from the training slices.

    Args:
        data: the slices.
        numbers: those to learn from.
        maker: of views for the model.
        settings: of the loop.
        prompted: each item is one structure on one slice, those of rare classes more than once; else a slice, without
            close-ups, since without prompts there is no second look at small structures.
        pooled: views are drawn from a fixed number of each item, since frozen layers run on them.

    Raises:
        InputError: no structure is large enough for the model to see.
    """

    def __init__(
        self,
        data: LabelledSet,
        numbers: Sequence[int],
        maker: ViewMaker,
        settings: LoopSettings,
        prompted: bool,
        pooled: bool,
    ) -> None:
        self._maker, self._settings, self._prompted, self._pooled = maker, settings, prompted, pooled
        self._augmentation = settings.augmentation if prompted else replace(settings.augmentation, closeups=0.0)
        self._slices = {number: maker.reduced(data.slices[number]) for number in numbers}
        self.items = self._structures(numbers) if prompted else self._balanced_slices(numbers)
        if not self.items:
            raise InputError(
                "The labelled structures are too small on the training slices for the model to see: "
                "annotate larger ones, or choose a model with a larger input."
            )
        self._pool: dict[tuple[int, int, int], View] = {}

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        size, count = self._settings.batch, len(self.items)
        keys: list[Hashable] = []
        views: list[View] = []
        chosen: list[int] = []
        for place in range(step * size, (step + 1) * size):
            turn, position = divmod(place, count)
            order = np.random.default_rng([self._settings.seed, _ORDER, turn]).permutation(count)
            number, kind = self.items[order[position]]
            view, key = self._view(number, kind, place)
            views.append(view)
            keys.append(key)
            chosen.append(kind)
        return Batch(
            tuple(keys),
            torch.stack([view.input for view in views]),
            torch.stack([view.masks for view in views]),
            torch.stack([view.content for view in views]),
            torch.tensor(chosen),
        )

    def _view(self, number: int, kind: int, place: int) -> tuple[View, Hashable]:
        seed = self._settings.seed
        if not self._pooled:
            return self._draw(number, kind, [seed, _FRESH, place]), None
        chosen = int(np.random.default_rng([seed, _POOL_CHOICE, place]).integers(self._settings.views))
        key = (number, kind, chosen)
        if key not in self._pool:
            self._pool[key] = self._draw(number, kind, [seed, _POOLED, *key])
        return self._pool[key], key

    def _draw(self, number: int, kind: int, stream: list[int]) -> View:
        entry = self._slices[number]
        for attempt in range(_TRIES):
            rng = np.random.default_rng([*stream, attempt])
            view = self._maker.augmented(entry, self._augmentation, rng)
            if not self._prompted or view.masks[kind].any():
                return view
        certain = self._maker.showing(entry, kind)
        assert certain is not None, "items without such a view are left out"
        return certain

    def _structures(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        by_class: list[list[tuple[int, int]]] = []
        for kind in range(len(self._maker.values)):
            shown = [n for n in numbers if self._maker.showing(self._slices[n], kind) is not None]
            if shown:
                by_class.append([(number, kind) for number in shown])
        most = max((len(items) for items in by_class), default=0)
        return [item for items in by_class for item in items * max(1, min(3, most // len(items)))]

    def _balanced_slices(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        shown = [n for n in numbers if not self._slices[n].is_empty]
        empty = [n for n in numbers if self._slices[n].is_empty]
        share = self._settings.empty_share
        room = int(share / (1 - share) * len(shown)) if share < 1 else len(empty)
        if len(empty) > room:
            places = np.linspace(0, len(empty) - 1, room).round().astype(int)
            empty = [empty[place] for place in places]
        return [(number, 0) for number in sorted(shown + empty)]
