"""Few-shot collections, changed, fitted and applied where the model is; what goes back knows no torch."""

from pathlib import Path

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.application import apply_to_volume
from SAMFinetuneLogic.fewshot.collection import (
    SupportCollection,
    SupportModel,
    add_slices,
    check_model,
    merge,
)
from SAMFinetuneLogic.fewshot.collection_files import OpenedCollection, load_collection, save_collection
from SAMFinetuneLogic.fewshot.fit_record import FitRecord
from SAMFinetuneLogic.fewshot.fitted import FewShotModel
from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.labelling import label_slices, reencode
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.results import VolumeResult
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.worker.answers import CollectionEntry, CollectionInfo
from SAMFinetuneLogic.worker.requests import Apply, Collect, Fit


def change_collection(
    request: Collect,
    model: LoadedModel,
    cache: EmbeddingCache,
    progress: ProgressCallback,
    cancelled: CancelCheck | None,
) -> CollectionInfo:
    """Change a collection's file as asked, and say what it holds. Stopped, the file is as it was.

    Raises:
        InputError: there is no such collection and nothing to make it of.
        ModelError: a collection of another model.
    """
    grows = bool(request.add or request.merge)
    sources = list(request.merge)
    if not grows or request.path.exists():
        opened: OpenedCollection | None = load_collection(request.path)
    else:  # a collection that begins as a copy of another one keeps its decoder
        opened = load_collection(sources.pop(0)) if sources else None
    if opened is None:
        collection, fitted = SupportCollection(SupportModel.of(model)), None
    else:
        collection = opened.collection
        if request.reencode:
            collection = reencode(collection, model, cache, progress, cancelled)
        if not (grows or request.remove or request.reencode):
            return describe(request.path, opened)
        check_model(collection, model)
        fitted = None if request.reencode else opened.fitted(model)
    for path in sources:
        other = load_collection(path).collection
        collection = merge(
            collection, reencode(other, model, cache, progress, cancelled) if request.reencode else other
        )
    gone = set(request.remove)
    collection = collection.without([entry for entry in collection.slices if entry.identity in gone])
    total, done = sum(len(entry.indices) for entry in request.add), 0
    for entry in request.add:
        plane = Plane.of(entry.volume, entry.axis, entry.window or choose_window(entry.volume))
        slices = label_slices(
            plane,
            entry.labels,
            entry.indices,
            model,
            cache,
            lambda count, _, before=done: progress(before + count, total),
            cancelled,
        )
        collection = add_slices(collection, entry.labels.segments, slices)
        done += len(entry.indices)
    save_collection(request.path, collection, fitted)
    return describe(request.path, load_collection(request.path))


def fit_collection(
    request: Fit, model: LoadedModel, cache: EmbeddingCache, progress: ProgressCallback, cancelled: CancelCheck | None
) -> FitRecord:
    """Fit a collection's decoder, continuing the earlier one where it has the same build, and store it.

    Raises:
        ModelError: a collection of another model.
    """
    opened = load_collection(request.path)
    check_model(opened.collection, model)
    start: FewShotModel | None = None if request.fresh else opened.fitted(model)
    if start is not None and request.settings is not None and _build(start.settings) != _build(request.settings):
        start = None
    settings = request.settings
    if settings is None and start is None:
        settings = FitSettings(purpose="other_images")  # what a collection is kept for
    fitted = fit(opened.collection, model, settings, start, cache, progress, cancelled)
    save_collection(request.path, opened.collection, fitted)
    return fitted.record


def apply_collection(
    request: Apply, model: LoadedModel, cache: EmbeddingCache, progress: ProgressCallback, cancelled: CancelCheck | None
) -> VolumeResult:
    """Segment a volume with a collection's decoder.

    Raises:
        InputError: nothing has been fitted yet.
        ModelError: a collection of another model.
    """
    opened = load_collection(request.path)
    check_model(opened.collection, model)
    fitted = opened.fitted(model, cache)
    if fitted is None:
        raise InputError(f"Nothing has been learned from the collection {request.path.name} yet; fit it first.")
    return apply_to_volume(
        fitted, request.volume, model, request.axis, request.window, request.indices, cache, progress, cancelled
    )


def describe(path: Path, opened: OpenedCollection) -> CollectionInfo:
    """What a collection holds."""
    collection = opened.collection
    entries = tuple(
        CollectionEntry(
            entry.identity,
            entry.title,
            entry.image,
            entry.slice,
            entry.plane,
            entry.pixels,
            entry.labels,
            entry.spacing,
        )
        for entry in collection.slices
    )
    return CollectionInfo(
        path,
        collection.model.title,
        collection.window_name,
        collection.plane,
        collection.classes,
        entries,
        None if opened.fit is None else FitRecord.from_dict(opened.fit["record"]),
    )


def _build(settings: FitSettings) -> tuple[object, ...]:
    """What an earlier fit must share to be continued."""
    return settings.targets, settings.dense, settings.background, settings.anchored, settings.blind
