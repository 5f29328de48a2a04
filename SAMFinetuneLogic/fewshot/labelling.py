"""From an image and its label map to the slices of a support collection."""

from collections.abc import Sequence

import numpy as np

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportModel, SupportSlice, add_slices
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex, array_axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.resampling import same_grid
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor

DEFAULT_SLICES = 5


def label_slices(
    plane: Plane,
    labels: LabelMap,
    indices: Sequence[int],
    model: LoadedModel,
    cache: EmbeddingCache | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> tuple[SupportSlice, ...]:
    """Slices of an image with their labels, encoded. A listed slice without labels is a negative.

    Args:
        plane: the image, its axis and window.
        labels: on the grid of the image.
        indices: along the plane's axis.
        cache: where embeddings may lie already.

    Raises:
        GeometryError: another grid, or an index outside of the volume.
        Cancelled: ``cancelled`` said so.
    """
    if not same_grid(labels, plane.volume):
        raise GeometryError("The label map lies on another grid than the image; resample it to the image first.")
    by_slice = np.moveaxis(labels.voxels, array_axis(plane.axis), 0)
    predictor = SlicePredictor(model, cache)
    found = []
    for done, index in enumerate(indices):
        raise_if_cancelled(cancelled)
        image = plane.image(index)
        embedding = predictor.embed(image).embedding[0].cpu().numpy().astype(np.float16)
        found.append(
            SupportSlice(
                pixels=image.to_uint8(),
                labels=plane.turn(by_slice[index]),
                spacing=image.spacing,
                embedding=embedding,
                image=plane.volume.name,
                image_key=image.content_hash,
                slice=SliceIndex(plane.axis, index),
                plane=plane.display.plane,
                window=plane.window,
            )
        )
        progress(done + 1, len(indices))
    return tuple(found)


def new_collection(
    volume: Volume,
    labels: LabelMap,
    indices: Sequence[int],
    model: LoadedModel,
    axis: Axis = "k",
    window: Window | None = None,
    cache: EmbeddingCache | None = None,
) -> SupportCollection:
    """A collection of slices of one image; for more, :func:`label_slices` and :func:`collection.add_slices`."""
    from SAMFinetuneLogic.imaging.windows import choose_window

    plane = Plane.of(volume, axis, window or choose_window(volume))
    slices = label_slices(plane, labels, indices, model, cache)
    return add_slices(SupportCollection(SupportModel.of(model)), labels.segments, slices)


def reencode(
    collection: SupportCollection,
    model: LoadedModel,
    cache: EmbeddingCache | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> SupportCollection:
    """The same slices with embeddings by another model, from the pixels that the collection holds.

    Args:
        progress: called after each slice.
        cancelled: asked before each.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    from dataclasses import replace

    predictor = SlicePredictor(model, cache)
    slices = []
    for done, entry in enumerate(collection.slices):
        raise_if_cancelled(cancelled)
        transform = SliceTransform(entry.labels.shape, entry.spacing, model.preprocessing)
        embedding = predictor.model.encode(transform.prepare(entry.pixels)[None])[0]
        slices.append(replace(entry, embedding=embedding.cpu().numpy().astype(np.float16)))
        progress(done + 1, len(collection.slices))
    return SupportCollection(SupportModel.of(model), collection.classes, tuple(slices))


def slices_to_label(labels: LabelMap, axis: Axis, count: int = DEFAULT_SLICES) -> list[int]:
    """Equally spaced slices on which something is labelled; all of them if there are no more than ``count``.

    Raises:
        InputError: nothing is labelled.
    """
    by_slice = np.moveaxis(labels.voxels, array_axis(axis), 0)
    present = np.flatnonzero(by_slice.reshape(len(by_slice), -1).any(axis=1))
    if not len(present):
        raise InputError("Nothing is labelled in the label map; label a structure on at least one slice.")
    if len(present) <= count:
        return [int(index) for index in present]
    chosen = np.rint(np.linspace(0, len(present) - 1, count + 2)[1:-1]).astype(int)
    return [int(index) for index in present[chosen]]
