"""Simulated users for the protocols: an ideal one, and noisy ones that miss by a normal error."""

import zlib
from typing import Protocol

import numpy as np

from SAMFinetuneLogic.metrics import (
    Box,
    Click,
    first_click,
    next_click,
    noisy_box,
    noisy_first_click,
    noisy_next_click,
    tight_box,
)


class User(Protocol):
    """Knows the truth on a slice, and prompts for it; masks and predictions are boolean (rows, cols)."""

    def first_click(self, mask: np.ndarray) -> Click: ...

    def next_click(self, mask: np.ndarray, prediction: np.ndarray) -> Click | None:
        """None if there is nothing to correct."""
        ...

    def box(self, mask: np.ndarray) -> Box: ...


class IdealUser:
    """Clicks at the centre of what is missing or too much, and draws tight boxes."""

    def first_click(self, mask: np.ndarray) -> Click:
        return first_click(mask)

    def next_click(self, mask: np.ndarray, prediction: np.ndarray) -> Click | None:
        return next_click(mask, prediction)

    def box(self, mask: np.ndarray) -> Box:
        return tight_box(mask)


class NoisyUser:
    """The same with a normal error of 5 % of the structure's box.

    Args:
        seed: a repeat of the experiment.
        key: what is prompted; the errors depend on it and the seed alone, not on what was evaluated before.
    """

    def __init__(self, seed: int, key: str) -> None:
        self._rng = np.random.default_rng([seed, zlib.crc32(key.encode())])

    def first_click(self, mask: np.ndarray) -> Click:
        return noisy_first_click(mask, self._rng)

    def next_click(self, mask: np.ndarray, prediction: np.ndarray) -> Click | None:
        return noisy_next_click(mask, prediction, self._rng)

    def box(self, mask: np.ndarray) -> Box:
        return noisy_box(mask, self._rng)
