"""A page that shows a segmentation: one panel for each slice that was prompted."""

from collections.abc import Mapping, Sequence

from PIL import Image

from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.pictures.orientation import display_of_volume
from SAMFinetuneLogic.pictures.panel import Marks, Overlay, Panel
from SAMFinetuneLogic.pictures.sheet import LegendEntry, render_sheet
from SAMFinetuneLogic.prompting.placement import prompts_on_slice, slices_of
from SAMFinetuneLogic.prompting.prompts import SegmentPrompts

MAX_PANELS = 6


def segmentation_picture(
    volume: Volume,
    labels: LabelMap,
    prompts: Sequence[SegmentPrompts],
    axis: Axis,
    window: Window,
    title: str,
    dice: Mapping[str, float] | None = None,
    truth: LabelMap | None = None,
) -> Image.Image:
    """The slices that the prompts ask for, at most ``MAX_PANELS``, with contours, prompts and a legend.

    Args:
        labels: on the grid of ``volume``.
        title: the first line: image, model, window.
        dice: by segment name, shown in the legend where known.
        truth: on the grid of ``volume``; drawn as thin white lines.
    """
    panels = [
        _panel(volume, labels, prompts, SliceIndex(axis, index), window, truth)
        for index in _slices_to_show(volume, labels, prompts, axis)
    ]
    legend = [LegendEntry(_legend_text(entry.segment.name, dice), entry.segment.color) for entry in prompts]
    if truth is not None:
        legend.append(LegendEntry("truth", (1.0, 1.0, 1.0)))
    return render_sheet(panels, title, legend)


def _legend_text(name: str, dice: Mapping[str, float] | None) -> str:
    return f"{name}  Dice {dice[name]:.3f}" if dice is not None and name in dice else name


def _slices_to_show(volume: Volume, labels: LabelMap, prompts: Sequence[SegmentPrompts], axis: Axis) -> list[int]:
    """For each segment the prompted slice on which most was found; each slice once, ascending."""
    chosen: list[int] = []
    for entry in prompts:
        wanted = sorted({index for prompt in entry.prompts for index in slices_of(volume, prompt, axis)})
        if not wanted:
            continue
        on_grid = Volume(labels.voxels, labels.ijk_to_ras)

        def area(index: int, on_grid: Volume = on_grid, value: int = entry.segment.value) -> int:
            return int((on_grid.slice_pixels(SliceIndex(axis, index)) == value).sum())

        # Where nothing was found anywhere, the middle slice says so best.
        best = max(wanted, key=lambda index: (area(index), -abs(index - wanted[len(wanted) // 2])))
        if best not in chosen:
            chosen.append(best)
    return sorted(chosen[:MAX_PANELS])


def _panel(
    volume: Volume,
    labels: LabelMap,
    prompts: Sequence[SegmentPrompts],
    where: SliceIndex,
    window: Window,
    truth: LabelMap | None,
) -> Panel:
    display = display_of_volume(volume, where.axis)
    found = Volume(labels.voxels, labels.ijk_to_ras).slice_pixels(where)
    known = None if truth is None else Volume(truth.voxels, truth.ijk_to_ras).slice_pixels(where)
    overlays, marks = [], []
    for entry in prompts:
        value, color = entry.segment.value, entry.segment.color
        placed = prompts_on_slice(volume, entry.prompts, where)
        # Elsewhere nothing was asked of this segment, and its truth would look like something missed.
        reference = known == value if known is not None and placed.has_target else None
        overlays.append(Overlay(found == value, color, reference))
        marks.append(Marks(color, placed.points, placed.labels > 0, placed.boxes))
    return Panel(
        pixels=window.to_uint8(volume.slice_pixels(where)),
        spacing=volume.slice_spacing(where.axis),
        display=display,
        overlays=tuple(overlays),
        marks=tuple(marks),
        caption=f"{display.plane} {where.axis} {where.index}",
    )
