"""A few figures for a training run that wants to know where it stands."""

from collections.abc import Sequence

import numpy as np

from SAMFinetuneLogic.evaluation.baselines.box import ellipse
from SAMFinetuneLogic.evaluation.manifest import Manifest
from SAMFinetuneLogic.evaluation.protocols.points import model_dialogue
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.evaluation.targets import Target, case_targets
from SAMFinetuneLogic.evaluation.users import IdealUser
from SAMFinetuneLogic.metrics import dice, tight_box


def quick_targets(manifest: Manifest, max_labels: int = 6) -> list[Target]:
    """The structures to measure, up to ``max_labels`` of each case; read them once, measure them often."""
    return [target for case in manifest.cases for target in case_targets(case, max_labels)]


def quick_scores(segmenter: Segmenter, targets: Sequence[Target]) -> dict[str, float]:
    """Mean Dice (over the structures of a case, then over cases) after 1, 3 and 5 clicks and for a tight box.

    Returns:
        ``dice_1``, ``dice_3``, ``dice_5``, ``box``, and ``ellipse``: what the box gives without a model.
    """
    user = IdealUser()
    by_case: dict[str, list[dict[str, float]]] = {}
    for target in targets:
        opened, box = segmenter.open(target), tight_box(target.mask)
        series, _ = model_dialogue(target.mask, user, opened, 5)
        scores = {f"dice_{n}": series.dices[n - 1] for n in (1, 3, 5)}
        scores["box"] = dice(target.mask, opened.predict(box=box).mask)
        scores["ellipse"] = dice(target.mask, ellipse(target.gray, box))
        by_case.setdefault(target.case, []).append(scores)
    means = [{name: np.mean([scores[name] for scores in case]) for name in case[0]} for case in by_case.values()]
    return {name: float(np.mean([mean[name] for mean in means])) for name in means[0]}
