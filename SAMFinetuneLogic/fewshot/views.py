"""Cached embeddings of labelled slices and of their augmented copies: what training runs on instead of images."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from SAMFinetuneLogic.fewshot.augmentation import LabelledPixels, augment
from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportSlice
from SAMFinetuneLogic.fewshot.grids import LabelGrids, label_grids
from SAMFinetuneLogic.fewshot.mirror import AS_IS, MirroredEmbedding, encode_mirrored
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage


@dataclass(frozen=True, eq=False)
class View:
    """A labelled slice, or an augmented copy, after the encoder.

    Attributes:
        embedding: float16 or float32 (C, h, w).
        grids: its labels on the network's grids.
        mirrored: of a slice itself its mirror image, where the settings ask for it.
    """

    embedding: torch.Tensor
    grids: LabelGrids
    mirrored: MirroredEmbedding | None = None


SliceViews = tuple[View, ...]
"""All views of one labelled slice; the first is the slice itself."""


def plain_view(entry: SupportSlice, values: tuple[int, ...], model: LoadedModel) -> View:
    """A slice as it is, with the embedding that the collection holds."""
    transform = SliceTransform(entry.labels.shape, entry.spacing, model.preprocessing)
    embedding = torch.from_numpy(entry.embedding.astype(np.float32))
    return View(embedding, label_grids(entry.labels, values, transform, model.embedding_shape[1:]))


def encode_views(
    collection: SupportCollection,
    model: LoadedModel,
    settings: FitSettings,
    cache: EmbeddingCache | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> tuple[SliceViews, ...]:
    """The views of each slice, in the collection's order.

    A slice's augmented copies depend on the slice and on the settings alone: with a cache, a fit after one more
    slice encodes only the copies of that slice.

    Args:
        settings: number and kind of the copies, and the seed.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    values = tuple(segment.value for segment in collection.classes)
    predictor, looks_twice = SlicePredictor(model, cache), settings.looks_twice(model.entry.backbone)
    count = 1 + settings.augmentations
    total, result = len(collection.slices) * count, []
    for number, entry in enumerate(collection.slices):
        plain = plain_view(entry, values, model)
        mirrored = encode_mirrored(predictor, entry.pixels, entry.spacing, entry.slice) if looks_twice else None
        views = [View(plain.embedding, plain.grids, mirrored)]
        rng = np.random.default_rng([settings.seed, *_numbers_of(entry)])
        source = LabelledPixels(entry.pixels, entry.labels)
        for n in range(settings.augmentations):
            raise_if_cancelled(cancelled)
            # Two and two, so that every other copy, too, is of both kinds.
            kind = settings.purpose if n // 2 % 2 == 0 else "same_images"
            copy = augment(source, entry.spacing, rng, settings.flips, kind)
            embedded = predictor.embed(SliceImage(copy.pixels, entry.spacing, entry.slice, AS_IS))
            grids = label_grids(copy.labels, values, embedded.transform, model.embedding_shape[1:])
            views.append(View(embedded.embedding[0].cpu(), grids))
            progress(number * count + n + 2, total)
        result.append(tuple(views))
    return tuple(result)


def _numbers_of(entry: SupportSlice) -> list[int]:
    digest = hashlib.sha256(f"{entry.image_key} {entry.slice.axis} {entry.slice.index}".encode()).digest()
    return list(digest[:16])
