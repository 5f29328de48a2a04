"""One click after another, each at the centre of the largest error so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from SAMFinetuneLogic.evaluation.baselines import points as baselines
from SAMFinetuneLogic.evaluation.protocols.base import (
    MODEL,
    NOISY_MODEL,
    Answer,
    Column,
    RunContext,
    SliceProtocol,
    noisy_mean,
)
from SAMFinetuneLogic.evaluation.results import Result, Scores
from SAMFinetuneLogic.evaluation.segmenter import OpenedSlice, Segmenter
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.evaluation.users import IdealUser, User
from SAMFinetuneLogic.metrics import Click, dice, iou
from SAMFinetuneLogic.prompting.candidates import Candidates

MAX_CLICKS = 10
RANKED_CLICKS = 5
NOC_THRESHOLDS = (80, 85, 90)
"""Dice in hundredths."""

DISC_RADII = tuple(round(float(radius), 3) for radius in np.geomspace(0.01, 0.5, 12))
"""As fractions of the slice's shorter side, in pixels."""

BASELINES = {"random walker": baselines.random_walker, "watershed": baselines.watershed}


@dataclass(frozen=True, eq=False)
class ClickSeries:
    """A dialogue: the Dice after each click, the clicks, and the last mask.

    ``dices`` always has as many entries as clicks were allowed: where nothing was left to correct, the last Dice
    stands for the rest.
    """

    dices: tuple[float, ...]
    clicks: tuple[Click, ...]
    mask: np.ndarray


class PointsProtocol(SliceProtocol):
    """Dice after one, three and five clicks, and the number of clicks (NoC) to a Dice of 0.80, 0.85 and 0.90."""

    name: ClassVar[str] = "points"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("dice_1", "1 click"),
        Column("best_1", "1, best mask"),
        Column("dice_3", "3 clicks"),
        Column("dice_5", "5 clicks"),
        *(Column(f"noc_{t}", f"NoC {t / 100:.2f}", 1, higher_is_better=False) for t in NOC_THRESHOLDS),
    )
    ranking: ClassVar[Column] = Column(f"dice_{RANKED_CLICKS}", f"Dice after {RANKED_CLICKS} clicks")

    def evaluate_target(self, target: Target, context: RunContext) -> Result:
        scores: dict[str, Scores] = {}
        candidates: list[tuple[float, float]] = []
        if context.segmenter is not None:
            opened = context.segmenter.open(target)
            scores[MODEL], first = _model_scores(target.mask, IdealUser(), opened)
            offered = zip(first.predicted_iou, first.masks, strict=True)
            candidates = [(float(predicted), iou(target.mask, mask)) for predicted, mask in offered]
            if context.settings.noisy_seeds:
                scores[NOISY_MODEL] = noisy_mean(
                    target, context.settings.noisy_seeds, lambda user: _model_scores(target.mask, user, opened)[0]
                )
        if not context.settings.baselines:
            return Result.of(target, scores, candidates=candidates)
        simple, sweeps = _baseline_scores(target)
        return Result.of(target, scores | simple, sweeps, candidates)

    def answer_target(self, target: Target, segmenter: Segmenter, user: User) -> Answer:
        series, _ = model_dialogue(target.mask, user, segmenter.open(target), RANKED_CLICKS)
        return Answer(target, series.mask, clicks=series.clicks)


def click_series(
    mask: np.ndarray, user: User, answer: Callable[[Sequence[Click]], np.ndarray], count: int = MAX_CLICKS
) -> ClickSeries:
    """Let ``user`` click up to ``count`` times, each click reacting to the answer before.

    Args:
        mask: the truth, boolean (rows, cols).
        answer: all clicks so far -> boolean (rows, cols).
    """
    clicks = [user.first_click(mask)]
    dices: list[float] = []
    while True:
        prediction = answer(clicks)
        dices.append(dice(mask, prediction))
        following = user.next_click(mask, prediction) if len(dices) < count else None
        if following is None:
            break
        clicks.append(following)
    return ClickSeries((*dices, *[dices[-1]] * (count - len(dices))), tuple(clicks), prediction)


def number_of_clicks(dices: Sequence[float], threshold: float) -> int:
    """After how many clicks the Dice first reaches ``threshold``; all of them if it never does."""
    return next((n for n, value in enumerate(dices, 1) if value >= threshold), len(dices))


def model_dialogue(
    mask: np.ndarray, user: User, opened: OpenedSlice, count: int = MAX_CLICKS
) -> tuple[ClickSeries, Candidates]:
    """Let ``user`` click on a model's slice; the chosen mask is fed back with the next click, as the product does.

    Returns:
        The series, and all that the model offered after the first click.
    """
    answers: list[Candidates] = []

    def answer(clicks: Sequence[Click]) -> np.ndarray:
        answers.append(opened.predict(clicks, feedback=answers[-1].mask_logits if answers else None))
        return answers[-1].mask

    return click_series(mask, user, answer, count), answers[0]


def _click_scores(series: ClickSeries) -> Scores:
    scores = {f"dice_{n}": value for n, value in enumerate(series.dices, 1)}
    return scores | {f"noc_{t}": float(number_of_clicks(series.dices, t / 100)) for t in NOC_THRESHOLDS}


def _model_scores(mask: np.ndarray, user: User, opened: OpenedSlice) -> tuple[Scores, Candidates]:
    series, first = model_dialogue(mask, user, opened)
    best = max(dice(mask, candidate) for candidate in first.masks)
    return _click_scores(series) | {"best_1": best}, first


def _baseline_scores(target: Target) -> tuple[dict[str, Scores], dict[str, dict[str, Scores]]]:
    """Scores of the baselines, and those of the discs of all radii."""
    gray = target.gray

    def measure(answer: Callable[[Sequence[Click]], np.ndarray]) -> Scores:
        return _click_scores(click_series(target.mask, IdealUser(), answer))

    scores = {name: measure(partial(method, gray)) for name, method in BASELINES.items()}
    side = min(target.mask.shape)
    discs = {
        str(radius): measure(partial(baselines.disc, target.mask.shape, radius=radius * side)) for radius in DISC_RADII
    }
    return scores, {"disc of the best radius": discs}
