"""Overlap and surface metrics, and the simulated user whose prompts they judge. Knows no torch."""

from SAMFinetuneLogic.metrics.overlap import box_iou, dice, iou
from SAMFinetuneLogic.metrics.simulated_user import (
    Box,
    Click,
    first_click,
    next_click,
    noisy_box,
    noisy_first_click,
    noisy_next_click,
    tight_box,
)
from SAMFinetuneLogic.metrics.surface import SurfaceDistances, hd95, surface_dice, surface_distances

__all__ = [
    "Box",
    "Click",
    "SurfaceDistances",
    "box_iou",
    "dice",
    "first_click",
    "hd95",
    "iou",
    "next_click",
    "noisy_box",
    "noisy_first_click",
    "noisy_next_click",
    "surface_dice",
    "surface_distances",
    "tight_box",
]
