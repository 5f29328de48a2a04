"""From prompts on a volume to a label map: what stands behind ``samfinetune segment``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex, array_axis, resolve_axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window, choose_window
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.placement import SlicePrompts, flat_axis, prompts_on_slice, slices_of
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, MaskPrompt, SegmentPrompts
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

Job = Mapping[int, SlicePrompts]
"""The prompts on one slice by the segments' values."""


@dataclass(frozen=True)
class SliceScore:
    """One segment on one slice.

    Attributes:
        value: of the segment.
        index: of the slice.
        predicted_iou: the model's own estimate of the mask's IoU.
        pixels: size of the mask in the result.
        refined: whether it was drawn anew on a crop.
    """

    value: int
    index: int
    predicted_iou: float
    pixels: int
    refined: bool


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """What :func:`segment_volume` found.

    Attributes:
        labels: on the grid of the image, 0 wherever no segment was found.
        window: the intensity window that the model saw.
        axis: the axis of the slices that were segmented.
        slices: their indices, ascending.
        scores: one for each segment and slice with prompts.
        notices: sentences for the user.
    """

    labels: LabelMap
    window: Window
    axis: Axis
    slices: tuple[int, ...]
    scores: tuple[SliceScore, ...]
    notices: tuple[str, ...]


def segment_volume(
    volume: Volume,
    prompts: Sequence[SegmentPrompts],
    model: LoadedModel,
    axis: str | None = None,
    window: Window | str = "auto",
    cache: EmbeddingCache | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
    *,
    refine_small: bool = True,
) -> SegmentationResult:
    """Segment each slice that has prompts.

    A point segments its slice, a box every slice that it spans, a scribble the slices that it runs through, and a
    mask its own. An ambiguous click gives the candidate that the model shows first. Where segments claim the same
    voxel, it goes to the one with the higher logit there; on equal logits, to the one given first.

    Args:
        volume: the image.
        prompts: one entry for each segment, each with a value of its own.
        model: from :func:`SAMFinetuneLogic.models.loading.load_model`.
        axis: i, j, k, axial, coronal or sagittal; None for the axis along which the boxes are flat (or the axis of
            the mask prompts), else k.
        window: or its name, see :func:`SAMFinetuneLogic.imaging.windows.choose_window`.
        cache: shared between calls at will.
        progress: called after each slice.
        cancelled: asked before each slice.
        refine_small: look closer at small structures, see :mod:`SAMFinetuneLogic.prompting.refine`.

    Raises:
        InputError: no prompts, none that say where a segment is, or boxes that are flat along different axes.
        GeometryError: a prompt lies outside of the volume.
        ModelError: the model cannot use the prompts.
        Cancelled: ``cancelled`` said so.
    """
    _check_segments(prompts)
    chosen_axis = default_axis(volume, prompts) if axis is None else resolve_axis(axis, volume.ijk_to_ras)
    chosen_window = window if isinstance(window, Window) else choose_window(volume, window)
    jobs, notices = _plan(volume, prompts, chosen_axis)
    predictor = SlicePredictor(model, cache)
    values = [entry.segment.value for entry in prompts]
    voxels = np.zeros(volume.shape, dtype=np.uint8 if max(values) < 256 else np.uint16)
    by_slice = np.moveaxis(voxels, array_axis(chosen_axis), 0)
    scores: list[SliceScore] = []
    for done, (index, job) in enumerate(jobs.items()):
        raise_if_cancelled(cancelled)
        embedded = predictor.embed(SliceImage.of(volume, SliceIndex(chosen_axis, index), chosen_window))
        answers = {
            value: predict_slice(predictor, embedded, drawn, refine_small=refine_small) for value, drawn in job.items()
        }
        by_slice[index] = _combine(answers)
        for value, answer in answers.items():
            pixels = int((by_slice[index] == value).sum())
            scores.append(SliceScore(value, index, answer.score, pixels, answer.refined))
            name = next(entry.segment.name for entry in prompts if entry.segment.value == value)
            notices.extend(answer.notices)
            if not pixels:
                notices.append(f"Nothing was found for {name} on slice {chosen_axis}={index}: add a point or a box.")
        progress(done + 1, len(jobs))
    labels = LabelMap(voxels, volume.ijk_to_ras, tuple(entry.segment for entry in prompts), name=volume.name)
    unique_notices = tuple(dict.fromkeys(notices))
    return SegmentationResult(labels, chosen_window, chosen_axis, tuple(jobs), tuple(scores), unique_notices)


def default_axis(volume: Volume, prompts: Sequence[SegmentPrompts]) -> Axis:
    """The axis along which the boxes are flat, or of the mask prompts; k if there are none such.

    Raises:
        InputError: they disagree.
    """
    axes: set[Axis] = set()
    for entry in prompts:
        for prompt in entry.prompts:
            if isinstance(prompt, MaskPrompt):
                axes.add(prompt.slice.axis)
            elif isinstance(prompt, BoxPrompt) and (flat := flat_axis(volume, prompt)) is not None:
                axes.add(flat)
    if len(axes) > 1:
        raise InputError(f"The boxes and masks lie along different axes ({', '.join(sorted(axes))}); choose one axis.")
    return axes.pop() if axes else "k"


def _check_segments(prompts: Sequence[SegmentPrompts]) -> None:
    if not prompts:
        raise InputError("There are no prompts: give at least one point or box.")
    for entry in prompts:
        if not entry.prompts:
            raise InputError(f"Segment {entry.segment.name} has no prompts: give it at least one point or box.")
    values = [entry.segment.value for entry in prompts]
    if len(set(values)) < len(values):
        raise InputError("Two segments have the same label value: give each its own.")


def _plan(volume: Volume, prompts: Sequence[SegmentPrompts], axis: Axis) -> tuple[dict[int, Job], list[str]]:
    """The work by slice, ascending; before any of it is done, each prompt has been checked."""
    jobs: dict[int, dict[int, SlicePrompts]] = {}
    notices: list[str] = []
    for entry in prompts:
        name, usable = entry.segment.name, False
        indices = sorted({index for prompt in entry.prompts for index in slices_of(volume, prompt, axis)})
        for index in indices:
            drawn = prompts_on_slice(volume, entry.prompts, SliceIndex(axis, index))
            if drawn.has_target:
                usable = True
                jobs.setdefault(index, {})[entry.segment.value] = drawn
            else:
                notices.append(f"Slice {axis}={index} has only negative points for {name} and was left out.")
        if not usable:
            reason = "only negative points" if indices else f"no prompts along axis {axis}"
            raise InputError(f"Segment {name} has {reason}: add a positive point or a box.")
    return dict(sorted(jobs.items())), notices


def _combine(answers: Mapping[int, Candidates]) -> np.ndarray:
    """Labels (rows, cols) of one slice: each pixel goes to the segment with the highest logit above 0."""
    values = np.array([0, *answers])
    logits = [answer.slice_logits[answer.chosen] for answer in answers.values()]
    return values[np.argmax(np.stack([np.zeros_like(logits[0]), *logits]), axis=0)]
