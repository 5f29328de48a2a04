"""The metrics of one mask on a slice."""

import numpy as np

from SAMFinetuneLogic.evaluation.results import Scores
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.metrics import dice, iou, surface_dice, surface_distances

TOLERANCE_VOXELS = 1.0
TOLERANCE_MM = 2.0


def score_mask(target: Target, prediction: np.ndarray) -> Scores:
    """Dice, IoU, normalised surface Dice (NSD) at one pixel and at 2 mm, and HD95 in mm.

    The distance to an empty mask is the slice's diagonal, the largest that there is. A picture without geometry has
    pixels of 1 mm.
    """
    between = surface_distances(target.mask, prediction, target.spacing)
    distance = between.hd95()
    if not np.isfinite(distance):
        distance = float(np.hypot(*np.multiply(target.mask.shape, target.spacing)))
    return {
        "dice": dice(target.mask, prediction),
        "iou": iou(target.mask, prediction),
        "nsd": surface_dice(target.mask, prediction, TOLERANCE_VOXELS),
        "nsd_mm": between.surface_dice(TOLERANCE_MM),
        "hd95": distance,
    }
