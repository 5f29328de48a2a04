"""One tight box per structure."""

from collections.abc import Sequence
from typing import ClassVar

from SAMFinetuneLogic.evaluation.baselines import box as baselines
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
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.evaluation.traits import traits_of
from SAMFinetuneLogic.evaluation.users import IdealUser, User

BASELINES = {
    "ellipse in the box": baselines.ellipse,
    "random walker": baselines.random_walker,
    "GrabCut": baselines.grab_cut,
}


class BoxProtocol(SliceProtocol):
    """Dice, IoU, normalised surface Dice (NSD) at one voxel and at 2 mm, and HD95 in mm, of the answer to a box."""

    name: ClassVar[str] = "box"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("dice", "Dice"),
        Column("iou", "IoU"),
        Column("nsd", "NSD 1 vx"),
        Column("nsd_mm", "NSD 2 mm"),
        Column("hd95", "HD95 mm", digits=1, higher_is_better=False),
    )
    ranking: ClassVar[Column] = columns[0]

    def evaluate_target(self, target: Target, context: RunContext) -> Result:
        scores: dict[str, Scores] = {}
        segmenter = context.segmenter
        if segmenter is not None:
            scores[MODEL] = score_mask(target, self.answer_target(target, segmenter, IdealUser()).mask)
            scores |= _other_prompts(target, segmenter, context.settings.prompting)
        if segmenter is not None and context.settings.noisy_seeds:
            scores[NOISY_MODEL] = noisy_mean(
                target,
                context.settings.noisy_seeds,
                lambda user: score_mask(target, self.answer_target(target, segmenter, user).mask),
            )
        if context.settings.baselines:
            box, gray = IdealUser().box(target.mask), target.gray
            scores |= {name: score_mask(target, method(gray, box)) for name, method in BASELINES.items()}
        return Result.of(target, scores, traits=traits_of(target, segmenter))

    def answer_target(self, target: Target, segmenter: Segmenter, user: User) -> Answer:
        box = user.box(target.mask)
        return Answer(target, segmenter.open(target).predict(box=box).mask, box=box)


def _other_prompts(target: Target, segmenter: Segmenter, forms: Sequence[str]) -> dict[str, Scores]:
    """The same box as tokens alone; no box, but another slice as example, and what copying its mask would give."""
    scores: dict[str, Scores] = {}
    if TOKENS in forms:
        answer = open_tokens(segmenter, target).predict(box=IdealUser().box(target.mask))
        scores[TOKENS_MODEL] = score_mask(target, answer.mask)
    opened = open_pooled(segmenter, target) if POOLED in forms else None
    if opened is not None:
        scores[POOLED_MODEL] = score_mask(target, opened.predict().mask)
        copied = copied_example(target)
        if copied is not None:
            scores[COPIED_EXAMPLE] = score_mask(target, copied)
    return scores
