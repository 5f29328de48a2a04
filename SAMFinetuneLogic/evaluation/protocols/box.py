"""One tight box per structure."""

from typing import ClassVar

import numpy as np

from SAMFinetuneLogic.evaluation.baselines import box as baselines
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
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.evaluation.users import IdealUser, User
from SAMFinetuneLogic.metrics import dice, hd95, iou, surface_dice

TOLERANCE_VOXELS = 1.0

BASELINES = {
    "ellipse in the box": baselines.ellipse,
    "random walker": baselines.random_walker,
    "GrabCut": baselines.grab_cut,
}


class BoxProtocol(SliceProtocol):
    """Dice, IoU, normalised surface Dice at one voxel, and HD95 in mm, of the answer to the structure's box."""

    name: ClassVar[str] = "box"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("dice", "Dice"),
        Column("iou", "IoU"),
        Column("nsd", "NSD 1 vx"),
        Column("hd95", "HD95 mm", digits=1, higher_is_better=False),
    )
    ranking: ClassVar[Column] = columns[0]

    def evaluate_target(self, target: Target, context: RunContext) -> Result:
        scores: dict[str, Scores] = {}
        segmenter = context.segmenter
        if segmenter is not None:
            scores[MODEL] = score_mask(target, self.answer_target(target, segmenter, IdealUser()).mask)
        if segmenter is not None and context.settings.noisy_seeds:
            scores[NOISY_MODEL] = noisy_mean(
                target,
                context.settings.noisy_seeds,
                lambda user: score_mask(target, self.answer_target(target, segmenter, user).mask),
            )
        if context.settings.baselines:
            box, gray = IdealUser().box(target.mask), target.gray
            scores |= {name: score_mask(target, method(gray, box)) for name, method in BASELINES.items()}
        return Result.of(target, scores)

    def answer_target(self, target: Target, segmenter: Segmenter, user: User) -> Answer:
        box = user.box(target.mask)
        return Answer(target, segmenter.open(target).predict(box=box).mask, box=box)


def score_mask(target: Target, prediction: np.ndarray) -> Scores:
    """The metrics of one mask. The distance to an empty one is the slice's diagonal, the largest that there is."""
    distance = hd95(target.mask, prediction, target.spacing)
    if not np.isfinite(distance):
        distance = float(np.hypot(*np.multiply(target.mask.shape, target.spacing)))
    return {
        "dice": dice(target.mask, prediction),
        "iou": iou(target.mask, prediction),
        "nsd": surface_dice(target.mask, prediction, TOLERANCE_VOXELS),
        "hd95": distance,
    }
