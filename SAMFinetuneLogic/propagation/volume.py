"""From a few annotated slices to the whole volume: what stands behind ``samfinetune propagate``."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from SAMFinetuneLogic.imaging.axes import array_axis, resolve_axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window, choose_window
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.auto_context import AutoContext
from SAMFinetuneLogic.propagation.candidates import Source, make_candidates
from SAMFinetuneLogic.propagation.doubt import MIN_SHARE, Doubt, doubt_of, jittered
from SAMFinetuneLogic.propagation.estimate import estimate
from SAMFinetuneLogic.propagation.extent import Extent, empty_beyond, extent_of
from SAMFinetuneLogic.propagation.fusion import Opinion, compose, fuse, network_share
from SAMFinetuneLogic.propagation.interpolation import InterpolationCandidate
from SAMFinetuneLogic.propagation.islands import remove_islands
from SAMFinetuneLogic.propagation.levels import Patch
from SAMFinetuneLogic.propagation.options import METHODS, Method, PropagationOptions
from SAMFinetuneLogic.propagation.panel import Panel
from SAMFinetuneLogic.propagation.reading import SliceReader
from SAMFinetuneLogic.propagation.result import PropagationResult, SliceReport
from SAMFinetuneLogic.propagation.review import next_slice, review_order

__all__ = ["BYTES_PER_VOXEL", "METHODS", "Method", "PropagationOptions", "propagate_volume"]

BYTES_PER_VOXEL = 6
"""Memory that a run needs beyond the image, the labels, the model and the cache's own bound: the result (one or two
bytes a voxel), and a byte for each direction in the region that a structure occupies which is followed, once by the
network and once by registration. Besides, at most
:data:`~SAMFinetuneLogic.propagation.growing.MAX_VOXELS` cells are grown, whatever the volume's size."""

NOTHING_MISSING = "There is no slice to fill in: all within the range and the direction are annotated."


def propagate_volume(
    volume: Volume,
    labels: LabelMap,
    model: LoadedModel | None = None,
    options: PropagationOptions | None = None,
    window: Window | str = "auto",
    cache: EmbeddingCache | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> PropagationResult:
    """Fill in the slices between and beyond annotated ones.

    Annotated slices come back as they are. What was drawn elsewhere of the continued segments is replaced; other
    segments are kept, and nothing is drawn over them. Segments of one label map do not overlap; where they may, fill
    in each from a label map of its own. A run that was stopped and is started again with the same cache encodes
    nothing twice and gives the same result. It needs :data:`BYTES_PER_VOXEL` of memory.

    Args:
        volume: the image.
        labels: on the same grid, with the annotated slices.
        model: needed by the methods "propagate" and "fewshot".
        options: by default all methods, along k.
        window: or its name, see :func:`SAMFinetuneLogic.imaging.windows.choose_window`.
        cache: shared between calls at will; by default one of its own.
        progress: called after each annotated slice that was left out, each training, and each filled-in slice.
        cancelled: asked before each slice and each answer of the network.

    Raises:
        InputError: nothing is drawn, or a method without its model.
        GeometryError: a slice or range outside of the volume, or labels on another grid.
        ModelError: the model cannot follow structures.
        Cancelled: ``cancelled`` said so.
    """
    options = options or PropagationOptions()
    axis = resolve_axis(options.axis, volume.ijk_to_ras)
    annotations = Annotations.of(volume, labels, axis, options.slices, options.values)
    extents = {value: extent_of(annotations, value, options.first, options.last) for value in annotations.masks}
    chosen_window = window if isinstance(window, Window) else choose_window(volume, window)
    source = Source(volume, annotations, extents, chosen_window)
    reader = None
    if options.method != "interpolate" and model is not None:
        predictor = SlicePredictor(model, EmbeddingCache() if cache is None else cache)
        reader = SliceReader(predictor, volume, annotations, chosen_window, cancelled)
    wanted = _wanted(annotations, extents, options)
    left_out = annotations.indices if options.measure and len(annotations.indices) > 1 else ()
    drawn = {value: len(annotations.present(value)) for value in extents}
    adapts = options.method == "auto" and options.adapt
    learned = [value for value, count in drawn.items() if adapts and (left_out or count == 1)]
    trainings = sum(AutoContext.folds(drawn[value]) for value in learned)
    total, done = len(left_out) + trainings + len(wanted), 0

    def finished() -> None:
        nonlocal done
        raise_if_cancelled(cancelled)
        done += 1
        progress(done, total)

    context = None
    if learned:
        context = AutoContext(volume, chosen_window, annotations, partial(raise_if_cancelled, cancelled), finished)
    panel = Panel(make_candidates(options, source, reader, cancelled), annotations, context)
    raise_if_cancelled(cancelled)
    panel.measure(left_out, finished)
    for value in learned:
        if context is not None and drawn[value] == 1:
            context.learn_alone(value)
    fallback = InterpolationCandidate(extents).fit(annotations)
    result = _canvas(labels, annotations)
    by_slice = np.moveaxis(result, array_axis(axis), 0)
    told: list[tuple[int, int, Doubt, float, dict[str, float]]] = []
    for index, values in wanted.items():
        heard: dict[int, list[Opinion]] = {}
        for value in values:
            heard[value] = panel.opinions(value, index)
            if not heard[value] and (outline := fallback.predict(value, index)) is not None:
                heard[value] = [Opinion("interpolation", outline, 1.0)]
        fused = {value: fuse(opinions, annotations.shape) for value, opinions in heard.items()}
        _draw(by_slice[index], fused)
        for value, patch in fused.items():
            asked = reader is not None and options.jitter and network_share(heard[value]) >= MIN_SHARE
            answers = jittered(reader, index, patch) if reader is not None and asked else []
            distance = fallback.distance(value, index)
            doubt = doubt_of(heard[value], patch, answers)
            told.append((value, index, doubt, distance, _shares(heard[value])))
        finished()
    for value in extents:
        remove_islands(by_slice, value, annotations.indices)
    reports = [
        SliceReport(value, index, int(np.count_nonzero(by_slice[index] == value)), doubt, distance, shares)
        for value, index, doubt, distance, shares in told
    ]
    estimates = tuple(
        estimate(annotations, segment, panel.evidence, reports, panel.gaps(segment.value))
        for segment in annotations.segments
    )
    return PropagationResult(
        LabelMap(result, volume.ijk_to_ras, labels.segments, name=volume.name),
        axis,
        chosen_window,
        annotations.indices,
        extents,
        tuple(reports),
        review_order(reports),
        next_slice(annotations, list(extents.values())),
        estimates,
        panel.evidence,
        _notices(annotations, extents) if wanted else (NOTHING_MISSING,),
    )


def _wanted(
    annotations: Annotations, extents: Mapping[int, Extent], options: PropagationOptions
) -> dict[int, list[int]]:
    """The slices to fill in, ascending, with the segments that may be on each."""
    low, high = (0, annotations.count - 1)
    if options.direction == "forward":
        low = annotations.indices[0]
    elif options.direction == "backward":
        high = annotations.indices[-1]
    wanted = {
        index: [value for value, extent in extents.items() if extent.holds(index)]
        for index in range(low, high + 1)
        if index not in annotations.indices
    }
    return {index: values for index, values in wanted.items() if values}


def _canvas(labels: LabelMap, annotations: Annotations) -> np.ndarray:
    """The voxels to draw on: the annotated slices, and what else is not to be touched."""
    voxels = labels.voxels.copy()
    by_slice = np.moveaxis(voxels, array_axis(annotations.axis), 0)
    continued = np.array(sorted(annotations.masks))
    for index in range(annotations.count):
        if index not in annotations.indices:
            by_slice[index][np.isin(by_slice[index], continued)] = 0
    return voxels


def _draw(pixels: np.ndarray, patches: Mapping[int, Patch]) -> None:
    """Draw the segments into a slice (rows, cols) where it is empty."""
    composed = compose(patches)
    if composed is None:
        return
    (row0, col0, row1, col1), found = composed
    target = pixels[row0 : row1 + 1, col0 : col1 + 1]
    free = target == 0
    target[free] = found[free]


def _shares(opinions: Sequence[Opinion]) -> dict[str, float]:
    total = sum(opinion.weight for opinion in opinions)
    return {opinion.name: opinion.weight / total for opinion in opinions}


def _notices(annotations: Annotations, extents: Mapping[int, Extent]) -> tuple[str, ...]:
    notices = []
    for segment in annotations.segments:
        extent = extents[segment.value]
        before, after = empty_beyond(annotations, segment.value)
        if not ((extent.first_known or before is not None) and (extent.last_known or after is not None)):
            notices.append(
                f"Where {segment.name} ends was not given: slices {extent.first} to {extent.last} were considered."
            )
    return tuple(notices)
