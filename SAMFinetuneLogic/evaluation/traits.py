"""Numbers of a structure on its slice that help to say why it is hard."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter, Segmenter
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.metrics import tight_box

RING_PIXELS = 3
"""How far the surroundings reach that a structure is compared with."""

_EDGE_LENGTH = np.pi / 4
"""Pixel sides overstate the length of an outline of any direction by 4 / pi on average (Cauchy-Crofton)."""

TITLES = {
    "area": "area %",
    "contrast": "contrast",
    "parts": "parts",
    "compactness": "compact",
    "side": "side px",
    "input_side": "input px",
}
"""Trait -> title of its column."""


def traits_of(target: Target, segmenter: Segmenter | None = None) -> dict[str, float]:
    """Traits of a structure.

    Returns:
        ``area``: share of the slice, in percent. ``contrast``: difference of the mean gray values inside and in a
        ring of :data:`RING_PIXELS` around it, in standard deviations of both; 0 without surroundings. ``parts``:
        connected components (through pixel sides). ``compactness``: 4 pi area / outline², about 1 for a disc, small
        for what is thin, branched or in many parts. ``side``: the longer side of its box in pixels of the slice.
        ``input_side``: the same in pixels of the network's input, with a loaded model.
    """
    mask = target.mask
    row0, col0, row1, col1 = tight_box(mask)
    sides = (row1 - row0 + 1, col1 - col0 + 1)
    margin = RING_PIXELS + 1
    part = np.s_[max(row0 - margin, 0) : row1 + margin + 1, max(col0 - margin, 0) : col1 + margin + 1]
    inside = mask[part]
    traits = {
        "area": 100.0 * float(mask.mean()),
        "contrast": _contrast(target.gray[part].astype(np.float64), inside),
        "parts": float(ndimage.label(inside)[1]),
        "compactness": _compactness(inside),
        "side": float(max(sides)),
    }
    if isinstance(segmenter, ModelSegmenter):
        scale = segmenter.input_scale(target)
        traits["input_side"] = max(sides[0] * scale[0], sides[1] * scale[1])
    return traits


def conspicuous(traits: Mapping[str, float]) -> str:
    """What stands out among a structure's traits, in a few words; rules of thumb, to be checked by eye."""
    rules = (
        (traits.get("input_side", np.inf) < 16, "small in the network's input"),
        (traits["area"] > 25, "fills much of the slice"),
        (traits["contrast"] < 0.5, "hardly differs from its surroundings"),
        (traits["parts"] > 1, "in several parts"),
        (traits["compactness"] < 0.35, "thin or winding"),
    )
    return ", ".join(words for holds, words in rules if holds) or "nothing in these numbers"


def _contrast(gray: np.ndarray, mask: np.ndarray) -> float:
    ring = ndimage.binary_dilation(mask, iterations=RING_PIXELS) & ~mask
    if not ring.any():
        return 0.0
    within, without = gray[mask], gray[ring]
    # One gray level more: flat regions of equal value differ by nothing, not by infinity.
    spread = np.sqrt((within.var() + without.var()) / 2) + 1.0
    return float(abs(within.mean() - without.mean()) / spread)


def _compactness(mask: np.ndarray) -> float:
    padded = np.pad(mask, 1)
    edges = sum(np.count_nonzero(np.diff(padded, axis=axis)) for axis in (0, 1))
    return float(4 * np.pi * np.count_nonzero(mask) / (edges * _EDGE_LENGTH) ** 2)
