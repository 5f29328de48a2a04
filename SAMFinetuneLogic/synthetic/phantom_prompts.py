"""What a user would draw on the phantom, and how well the answer fits the truth."""

from collections.abc import Sequence

import numpy as np

from SAMFinetuneLogic.imaging.axes import Axis, array_axis
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.metrics.overlap import dice
from SAMFinetuneLogic.metrics.simulated_user import first_click, tight_box
from SAMFinetuneLogic.prompting.placement import slices_of
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, PointPrompt, Prompt, SegmentPrompts
from SAMFinetuneLogic.synthetic.phantom import Phantom

AXIS: Axis = "k"
CLICKED = ("liver",)
BOXED = ("spleen", "right kidney", "aorta")
BOXED_THICK = ("left kidney",)

# A thick box spans the slices on which the structure has at least this share of its largest area: towards the
# poles one box for all slices would be far too large.
_THICK_SHARE = 0.7


def phantom_prompts(phantom: Phantom) -> list[SegmentPrompts]:
    """A click, flat boxes and a thick box: each on the slice where its structure is largest."""
    result = []
    for segment in phantom.truth.segments:
        mask = phantom.truth.mask(segment.value)
        areas = mask.sum(axis=(1, 2))
        middle = int(areas.argmax())
        if segment.name in CLICKED:
            result.append(_with(segment, _click(phantom.volume, mask, middle)))
        elif segment.name in BOXED:
            result.append(_with(segment, _box(phantom.volume, mask, middle, middle)))
        elif segment.name in BOXED_THICK:
            first, last = _run_around(areas >= _THICK_SHARE * areas[middle], middle)
            result.append(_with(segment, _box(phantom.volume, mask, first, last)))
    return result


def prompted_dice(
    labels: LabelMap, truth: LabelMap, volume: Volume, prompts: Sequence[SegmentPrompts], axis: Axis
) -> dict[str, float]:
    """Dice of each segment, by name, over the slices that its own prompts ask for: the others were left alone."""
    result = {}
    for entry in prompts:
        value = entry.segment.value
        wanted = sorted({index for prompt in entry.prompts for index in slices_of(volume, prompt, axis)})
        found = labels.mask(value).take(wanted, axis=array_axis(axis))
        result[entry.segment.name] = dice(found, truth.mask(value).take(wanted, axis=array_axis(axis)))
    return result


def _with(segment: Segment, prompt: Prompt) -> SegmentPrompts:
    return SegmentPrompts(segment, (prompt,))


def _click(volume: Volume, mask: np.ndarray, index: int) -> PointPrompt:
    click = first_click(mask[index])
    ras = volume.slice_to_ras(np.array([[index, click.row, click.col]], dtype=float), AXIS)[0]
    return PointPrompt(_triple(ras))


def _box(volume: Volume, mask: np.ndarray, first: int, last: int) -> BoxPrompt:
    row0, col0, row1, col1 = tight_box(np.any(mask[first : last + 1], axis=0))
    corners = volume.slice_to_ras(np.array([[first, row0, col0], [last, row1, col1]], dtype=float), AXIS)
    return BoxPrompt(tuple(_triple(corner) for corner in corners))


def _run_around(wanted: np.ndarray, middle: int) -> tuple[int, int]:
    """The first and last index of the unbroken run of True that holds ``middle``."""
    first = last = middle
    while first > 0 and wanted[first - 1]:
        first -= 1
    while last + 1 < len(wanted) and wanted[last + 1]:
        last += 1
    return first, last


def _triple(position: np.ndarray) -> tuple[float, float, float]:
    """Rounded to micrometres: enough for any image, and readable in the prompts file."""
    x, y, z = (round(float(part), 3) for part in position)
    return x, y, z
