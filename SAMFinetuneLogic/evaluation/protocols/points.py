"""One click after another, each at the centre of the largest error so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from SAMFinetuneLogic.evaluation.baselines import points as baselines
from SAMFinetuneLogic.evaluation.candidate_ranks import ALTERNATIVES
from SAMFinetuneLogic.evaluation.prompting_forms import POOLED, TOKENS, copied_example, open_pooled, open_tokens
from SAMFinetuneLogic.evaluation.protocols.base import (
    COPIED_EXAMPLE,
    MODEL,
    NOISY_MODEL,
    POOLED_MODEL,
    TOKENS_MODEL,
    Answer,
    Column,
    RunContext,
    SliceProtocol,
    noisy_mean,
)
from SAMFinetuneLogic.evaluation.protocols.scoring import score_mask
from SAMFinetuneLogic.evaluation.results import Result, Scores
from SAMFinetuneLogic.evaluation.segmenter import OpenedSlice, Segmenter
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.evaluation.traits import traits_of
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
    """A dialogue: the Dice after each click, the clicks, and the mask after each of them.

    ``dices`` always has as many entries as clicks were allowed: where the dialogue ended before, the last Dice
    stands for the rest.
    """

    dices: tuple[float, ...]
    clicks: tuple[Click, ...]
    masks: tuple[np.ndarray, ...]

    @property
    def mask(self) -> np.ndarray:
        """The last one."""
        return self.masks[-1]

    def after(self, count: int) -> np.ndarray:
        """The mask after ``count`` clicks, or the last one before."""
        return self.masks[min(count, len(self.masks)) - 1]


class PointsProtocol(SliceProtocol):
    """Dice after one, three and five clicks, and the number of clicks (NoC) to a Dice of 0.80, 0.85 and 0.90.

    After five clicks also IoU, normalised surface Dice and HD95. ``1, best of 3``: the best of the three masks that
    are offered after one click.
    """

    name: ClassVar[str] = "points"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("dice_1", "1 click"),
        Column("best_1", "1, best of 3"),
        Column("dice_3", "3 clicks"),
        Column("dice_5", "5 clicks"),
        Column("iou_5", "5, IoU"),
        Column("nsd_5", "5, NSD 1 vx"),
        Column("nsd_mm_5", "5, NSD 2 mm"),
        Column("hd95_5", "5, HD95 mm", digits=1, higher_is_better=False),
        *(Column(f"noc_{t}", f"NoC {t / 100:.2f}", 1, higher_is_better=False) for t in NOC_THRESHOLDS),
    )
    ranking: ClassVar[Column] = Column(f"dice_{RANKED_CLICKS}", f"Dice after {RANKED_CLICKS} clicks")

    def evaluate_target(self, target: Target, context: RunContext) -> Result:
        scores: dict[str, Scores] = {}
        candidates: list[tuple[float, float]] = []
        traits = traits_of(target, context.segmenter)
        if context.segmenter is not None:
            opened = context.segmenter.open(target)
            scores[MODEL], first = _model_scores(target, IdealUser(), opened)
            offered = zip(first.predicted_iou, first.masks, strict=True)
            candidates = [(float(predicted), iou(target.mask, mask)) for predicted, mask in offered]
            scores |= _other_prompts(target, context.segmenter, context.settings.prompting)
            if context.settings.noisy_seeds:
                scores[NOISY_MODEL] = noisy_mean(
                    target, context.settings.noisy_seeds, lambda user: _model_scores(target, user, opened)[0]
                )
        if not context.settings.baselines:
            return Result.of(target, scores, candidates=candidates, traits=traits)
        simple, sweeps = _baseline_scores(target)
        return Result.of(target, scores | simple, sweeps, candidates, traits)

    def answer_target(self, target: Target, segmenter: Segmenter, user: User) -> Answer:
        series, _ = model_dialogue(target.mask, user, segmenter.open(target), RANKED_CLICKS)
        return Answer(target, series.mask, clicks=series.clicks)


def click_series(
    mask: np.ndarray,
    user: User,
    answer: Callable[[Sequence[Click]], np.ndarray],
    count: int = MAX_CLICKS,
    *,
    click_first: bool = True,
    until: Callable[[Sequence[float]], bool] | None = None,
) -> ClickSeries:
    """Let ``user`` click up to ``count`` times, each click reacting to the answer before.

    Args:
        mask: the truth, boolean (rows, cols).
        answer: all clicks so far -> boolean (rows, cols).
        click_first: False where the first answer needs no click; it counts as one all the same.
        until: asked with the Dice values so far whether the dialogue may end.
    """
    clicks = [user.first_click(mask)] if click_first else []
    dices: list[float] = []
    masks: list[np.ndarray] = []
    while True:
        masks.append(answer(clicks))
        dices.append(dice(mask, masks[-1]))
        if len(dices) >= count or (until is not None and until(dices)):
            break
        following = user.next_click(mask, masks[-1])
        if following is None:
            break
        clicks.append(following)
    return ClickSeries((*dices, *[dices[-1]] * (count - len(dices))), tuple(clicks), tuple(masks))


def number_of_clicks(dices: Sequence[float], threshold: float) -> int:
    """After how many clicks the Dice first reaches ``threshold``; all of them if it never does."""
    return next((n for n, value in enumerate(dices, 1) if value >= threshold), len(dices))


def nothing_left_to_measure(dices: Sequence[float]) -> bool:
    """Whether further clicks would change no column: all thresholds are reached, and the ranked clicks are given."""
    return len(dices) >= RANKED_CLICKS and max(dices) >= max(NOC_THRESHOLDS) / 100


def model_dialogue(
    mask: np.ndarray,
    user: User,
    opened: OpenedSlice,
    count: int = MAX_CLICKS,
    *,
    click_first: bool = True,
    until: Callable[[Sequence[float]], bool] | None = None,
) -> tuple[ClickSeries, Candidates]:
    """Let ``user`` click on a model's slice; the chosen mask is fed back with the next click, as the product does.

    Args:
        click_first, until: as for :func:`click_series`.

    Returns:
        The series, and all that the model offered after the first prompt.
    """
    answers: list[Candidates] = []

    def answer(clicks: Sequence[Click]) -> np.ndarray:
        answers.append(opened.predict(clicks, feedback=answers[-1].mask_logits if answers else None))
        return answers[-1].mask

    return click_series(mask, user, answer, count, click_first=click_first, until=until), answers[0]


def _click_scores(target: Target, series: ClickSeries) -> Scores:
    scores = {f"dice_{n}": series.dices[n - 1] for n in range(1, RANKED_CLICKS + 1)}
    scores |= {f"noc_{t}": float(number_of_clicks(series.dices, t / 100)) for t in NOC_THRESHOLDS}
    ranked = score_mask(target, series.after(RANKED_CLICKS))
    return scores | {f"{metric}_{RANKED_CLICKS}": value for metric, value in ranked.items()}


def _model_scores(target: Target, user: User, opened: OpenedSlice) -> tuple[Scores, Candidates]:
    series, first = model_dialogue(target.mask, user, opened, until=nothing_left_to_measure)
    best = max(dice(target.mask, candidate) for candidate in first.masks[-ALTERNATIVES:])
    return _click_scores(target, series) | {"best_1": best}, first


def _other_prompts(target: Target, segmenter: Segmenter, forms: Sequence[str]) -> dict[str, Scores]:
    """Clicks as tokens alone; and another slice as example in place of the first click, or its mask copied."""
    scores: dict[str, Scores] = {}
    if TOKENS in forms:
        scores[TOKENS_MODEL], _ = _model_scores(target, IdealUser(), open_tokens(segmenter, target))
    opened = open_pooled(segmenter, target) if POOLED in forms else None
    if opened is not None:
        series, _ = model_dialogue(target.mask, IdealUser(), opened, click_first=False, until=nothing_left_to_measure)
        scores[POOLED_MODEL] = _click_scores(target, series)
        copied = copied_example(target)
        if copied is not None:
            scores[COPIED_EXAMPLE] = {"dice_1": dice(target.mask, copied)}
    return scores


def _baseline_scores(target: Target) -> tuple[dict[str, Scores], dict[str, dict[str, Scores]]]:
    """Scores of the baselines, and those of the discs of all radii."""
    gray = target.gray

    def measure(answer: Callable[[Sequence[Click]], np.ndarray]) -> Scores:
        return _click_scores(target, click_series(target.mask, IdealUser(), answer, until=nothing_left_to_measure))

    scores = {name: measure(partial(method, gray)) for name, method in BASELINES.items()}
    side = min(target.mask.shape)
    discs = {
        str(radius): measure(partial(baselines.disc, target.mask.shape, radius=radius * side)) for radius in DISC_RADII
    }
    return scores, {"disc of the best radius": discs}
