"""Whether the several masks that one click gives mean something, and whether the model knows the better ones."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from SAMFinetuneLogic.evaluation.results import Result

ALTERNATIVES = 3
"""The last of the masks offered after one click; the default model leads them with its answer at the best scale."""


def rank_correlation(results: Sequence[Result]) -> float | None:
    """Spearman's correlation of predicted with true IoU, over all masks offered for all structures."""
    return _spearman([pair for result in results for pair in result.candidates])


def rank_correlation_within(results: Sequence[Result]) -> float | None:
    """The same among the three alternatives of each structure; mean over the structures of a case, then over cases.

    Which structures are easy does not help here: only the order of the alternatives counts.
    """
    by_case: dict[str, list[float]] = {}
    for result in results:
        alternatives = result.candidates[-ALTERNATIVES:]
        correlation = _spearman(alternatives) if len(alternatives) == ALTERNATIVES else None
        if correlation is not None:
            by_case.setdefault(result.case, []).append(correlation)
    return float(np.mean([np.mean(values) for values in by_case.values()])) if by_case else None


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """None where it is not defined: for fewer than two pairs, or where one side has a single value."""
    table = np.array(pairs, dtype=float).reshape(-1, 2)
    if len(table) < 2 or np.ptp(table, axis=0).min() == 0:
        return None
    return float(spearmanr(table[:, 0], table[:, 1]).statistic)
