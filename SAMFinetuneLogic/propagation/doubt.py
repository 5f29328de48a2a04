"""How unsure a predicted slice is: the candidates' disagreement, and the network's answers to jittered prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from SAMFinetuneLogic.metrics import tight_box
from SAMFinetuneLogic.propagation.fusion import Opinion, network_share
from SAMFinetuneLogic.propagation.levels import Patch, patch_dice, union_bounds

if TYPE_CHECKING:  # a result is read where no torch is wanted
    from SAMFinetuneLogic.propagation.reading import SliceReader

MIN_SHARE = 0.1
"""Where the model's part in the fusion is less, it is not asked again with moved prompts: its answer hardly counts."""
JITTER = 0.06
"""The prompt is moved by this part of the structure's box."""
_TURNS = ((1, 1), (-1, -1))


@dataclass(frozen=True)
class Doubt:
    """About a segment on a slice.

    Attributes:
        disagreement: 1 - mean pairwise Dice of the candidates; 0 for a single one.
        jitter: 1 - mean Dice of the answers to jittered prompts; 0 where the network was not asked.
        pixels: how many pixels the two are likely to have wrong.
    """

    disagreement: float
    jitter: float
    pixels: float


def doubt_of(opinions: Sequence[Opinion], fused: Patch, answers: Sequence[Patch]) -> Doubt:
    """The doubt about a slice.

    Args:
        opinions: that went into ``fused``. Those that weigh more there tell more about its errors.
        answers: to jittered prompts, see :func:`jittered`. They tell of the slice as far as the model has a say.
    """
    pairs = list(combinations([opinion.patch for opinion in opinions], 2))
    jitters = list(combinations(answers, 2))
    differences = [_difference(opinion.patch, fused) for opinion in opinions]
    wrong = float(np.average(differences, weights=[opinion.weight**0.5 for opinion in opinions])) if opinions else 0.0
    share = network_share(opinions)
    return Doubt(
        1 - _mean([patch_dice(*pair) for pair in pairs], 1.0),
        1 - _mean([patch_dice(*pair) for pair in jitters], 1.0),
        wrong + 0.5 * share * _mean([_difference(*pair) for pair in jitters]),
    )


def jittered(reader: "SliceReader", index: int, fused: Patch) -> list[Patch]:
    """The network's answers when it is shown the fused mask moved a little this way and that."""
    mask = fused.mask()
    if not mask.any():
        return []
    look = reader.look(index, mask)
    row0, col0, row1, col1 = tight_box(mask)
    step = np.maximum(1, np.rint(JITTER * np.array([row1 - row0 + 1, col1 - col0 + 1]))).astype(int)
    return [reader.follow(look, _moved(mask, *(step * turn))) for turn in _TURNS]


def _moved(mask: np.ndarray, rows: int, cols: int) -> np.ndarray:
    result = np.zeros_like(mask)
    height, width = mask.shape
    target = (slice(max(rows, 0), height + min(rows, 0)), slice(max(cols, 0), width + min(cols, 0)))
    source = (slice(max(-rows, 0), height + min(-rows, 0)), slice(max(-cols, 0), width + min(-cols, 0)))
    result[target] = mask[source]
    return result


def _difference(first: Patch, second: Patch) -> float:
    """Pixels that are in one mask alone."""
    bounds = union_bounds([first, second])
    if bounds is None:
        return 0.0
    return float(np.count_nonzero((first.levels(bounds) > 0) ^ (second.levels(bounds) > 0)))


def _mean(numbers: Sequence[float], empty: float = 0.0) -> float:
    return float(np.mean(numbers)) if len(numbers) else empty
