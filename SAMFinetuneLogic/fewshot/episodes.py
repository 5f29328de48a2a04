"""Episodes: some labelled slices ask, others answer. The views are cached, so a step costs the decoder alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SAMFinetuneLogic.fewshot.guesses import cross_fitted_guesses
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.targets import TargetEmbeddings, pool_targets
from SAMFinetuneLogic.fewshot.views import SliceViews, View

_DRAWS = 5


@dataclass(frozen=True, eq=False)
class Episode:
    """One training step's material, on the device.

    Attributes:
        embeddings: float32 (B, C, h, w), queried.
        fractions: float32 (B, n + 1, 4h, 4w), the truth.
        targets: of the support slices.
        guess: (B, n, h, w), or None.
        guessed: (B,) bool: which queries are shown theirs; None for all.
    """

    embeddings: torch.Tensor
    fractions: torch.Tensor
    targets: TargetEmbeddings
    guess: torch.Tensor | None
    guessed: torch.Tensor | None


class EpisodeSource:
    """Draws episodes from the views of labelled slices.

    First guesses come from estimators that have not seen the queried slice, as it will be on a new one: else the
    decoder would learn to copy them. With a single labelled slice there is none other; its copies must do.

    Attributes:
        mirror: see :class:`SAMFinetuneLogic.fewshot.guesses.CrossFittedGuesses`.
    """

    def __init__(self, slices: Sequence[SliceViews], settings: FitSettings, device: torch.device) -> None:
        self._slices, self._settings, self._device = slices, settings, device
        self._rng = np.random.default_rng([settings.seed, 1])
        self._guesses = cross_fitted_guesses(slices, settings, device)
        self.mirror = () if self._guesses is None else self._guesses.mirror

    def draw(self) -> Episode:
        """The next episode: a random support set of random size, and views of other slices as queries."""
        support, queries = self._split()
        views = [self._slices[n][self._rng.integers(len(self._slices[n]))] for n in support]
        chosen = [(n, int(self._rng.integers(len(self._slices[n])))) for n in self._rng.choice(queries, self._batch)]
        guess = guessed = None
        if self._guesses is not None:
            if self._settings.blind > 0:
                guessed = torch.from_numpy(self._rng.random(self._batch) >= self._settings.blind).to(self._device)
            guess = torch.stack([self._guesses.views[n][v] for n, v in chosen]).to(self._device, torch.float32)
        queried = [self._slices[n][v] for n, v in chosen]
        return Episode(
            torch.stack([view.embedding.float() for view in queried]).to(self._device),
            torch.stack([view.grids.fine for view in queried]).to(self._device),
            targets_of(views, self._settings, self._device),
            guess,
            guessed,
        )

    @property
    def _batch(self) -> int:
        return self._settings.batch

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Slices that ask, and slices that answer; every class should be among those that ask, if that can be."""
        count = len(self._slices)
        if count == 1:
            return np.zeros(1, dtype=int), np.zeros(1, dtype=int)
        best: tuple[int, np.ndarray, np.ndarray] | None = None
        for _ in range(_DRAWS):
            order = self._rng.permutation(count)
            size = int(self._rng.integers(1, count))
            present = torch.stack([self._slices[n][0].grids.coarse.flatten(1).amax(1) > 0 for n in order[:size]])
            covered = int(present.any(0).sum())
            if best is None or covered > best[0]:
                best = covered, order[:size], order[size:]
        assert best is not None
        return best[1], best[2]


def targets_of(views: Sequence[View], settings: FitSettings, device: torch.device) -> TargetEmbeddings:
    """Target embeddings of views, on the device."""
    pooled = pool_targets(
        [view.embedding for view in views],
        [view.grids.coarse for view in views],
        settings.targets,
        settings.prototypes,
    )
    return TargetEmbeddings(pooled.vectors.to(device), pooled.kinds.to(device))
