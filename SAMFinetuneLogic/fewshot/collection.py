"""The support collection: labelled slices from one or several images, with their embeddings. Data and pure functions.

It holds image content (the windowed pixels and their embeddings): treat it as you treat the images. It holds nothing
else about the patient; the name of an image is that of its file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import MAX_LABEL, Segment
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import PREPROCESSING_VERSION


@dataclass(frozen=True, eq=False)
class SupportSlice:
    """One labelled slice, turned to the radiological view.

    Attributes:
        pixels: uint8 (rows, cols) or (rows, cols, 3), windowed.
        labels: uint8 or uint16 (rows, cols); 0 is background, and all of it for a negative slice.
        spacing: (row_mm, col_mm).
        embedding: float16 (C, h, w), of the pixels by the collection's model.
        image: name of the image.
        image_key: hash of the slice's source pixels: the same slice added again replaces the earlier one.
        slice: where it was in its volume.
        plane: axial, coronal or sagittal.
        window: how the values were shown.
    """

    pixels: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float]
    embedding: np.ndarray
    image: str
    image_key: str
    slice: SliceIndex
    plane: str
    window: Window

    @property
    def identity(self) -> tuple[str, SliceIndex]:
        """Equal for the same slice of the same image."""
        return self.image_key, self.slice

    @property
    def title(self) -> str:
        """For lists and messages."""
        return f"{self.image or 'image'} {self.slice.axis}={self.slice.index}"


@dataclass(frozen=True)
class SupportModel:
    """Which model the embeddings belong to.

    Attributes:
        id, title: of the catalogue entry.
        encoder: hash of the encoder's weights and adapters.
        preprocessing_version: of this package, when the embeddings were made.
    """

    id: str
    title: str
    encoder: str
    preprocessing_version: int = PREPROCESSING_VERSION

    @classmethod
    def of(cls, model: LoadedModel) -> "SupportModel":
        # The precision behind the hash is left out: bf16 differs by less than a per cent, and a collection
        # made on a GPU must open on a laptop.
        return cls(model.entry.id, model.entry.title, model.encoder_key.rpartition("-")[0])


@dataclass(frozen=True, eq=False)
class SupportCollection:
    """Labelled slices that belong together.

    Attributes:
        model: that made the embeddings.
        classes: the structures, in ascending order of value; each label that occurs has one.
        slices: in the order in which they were added.
    """

    model: SupportModel
    classes: tuple[Segment, ...] = ()
    slices: tuple[SupportSlice, ...] = ()

    def __post_init__(self) -> None:
        values = [segment.value for segment in self.classes]
        if values != sorted(set(values)):
            raise InputError("The classes of a support collection need different values in ascending order.")
        unknown = {int(v) for s in self.slices for v in np.unique(s.labels)} - {0, *values}
        if unknown:
            raise InputError(f"Label {min(unknown)} has no class; name a class for each label.")

    @property
    def window_name(self) -> str:
        """What to open a new image with: the window that most slices share."""
        names = [entry.window.name for entry in self.slices]
        return max(names, key=names.count) if names else "auto"

    @property
    def plane(self) -> str:
        """The plane that most slices lie in."""
        planes = [entry.plane for entry in self.slices]
        return max(planes, key=planes.count) if planes else "axial"

    def labelled(self, value: int) -> tuple[SupportSlice, ...]:
        """The slices on which a class is present."""
        return tuple(entry for entry in self.slices if (entry.labels == value).any())

    def without(self, dropped: Iterable[SupportSlice]) -> "SupportCollection":
        """The same without some slices; classes stay, so that their order in a decoder does."""
        gone = {entry.identity for entry in dropped}
        return replace(self, slices=tuple(entry for entry in self.slices if entry.identity not in gone))


def add_slices(
    collection: SupportCollection, classes: Sequence[Segment], slices: Sequence[SupportSlice]
) -> SupportCollection:
    """Add slices, whose labels are values of ``classes``; a slice that is there already is replaced.

    Classes are the same where their names are. A new class whose value is taken gets the next free value.

    Raises:
        ModelError: an embedding has another shape than those in the collection.
    """
    mapping, merged = _merge_classes(collection.classes, classes)
    added = [replace(entry, labels=_mapped(entry.labels, mapping)) for entry in slices]
    shapes = {entry.embedding.shape for entry in (*collection.slices, *added)}
    if len(shapes) > 1:
        raise ModelError("The slices were encoded by different models; encode all of them with one.")
    entries = {entry.identity: entry for entry in (*collection.slices, *added)}
    return SupportCollection(collection.model, merged, tuple(entries.values()))


def merge(first: SupportCollection, second: SupportCollection) -> SupportCollection:
    """Both collections as one; a slice in both is taken from the second.

    Raises:
        ModelError: they belong to different models.
    """
    if first.model.encoder != second.model.encoder:
        raise ModelError(
            f"The collections were made with different models ({first.model.title}, {second.model.title}): "
            "encode one of them again with the other's model."
        )
    return add_slices(first, second.classes, second.slices)


def check_model(collection: SupportCollection, model: LoadedModel) -> None:
    """Refuse a model that did not make the embeddings.

    Raises:
        ModelError: it did not; the message names both.
    """
    mine = SupportModel.of(model)
    if (mine.encoder, mine.preprocessing_version) != (collection.model.encoder, collection.model.preprocessing_version):
        raise ModelError(
            f"The collection was made with {collection.model.title} ({_short(collection.model)}), not with "
            f"{mine.title} ({_short(mine)}): load that model, or encode the collection again."
        )


def _short(model: SupportModel) -> str:
    return f"{model.encoder[:8]}, preprocessing {model.preprocessing_version}"


def _merge_classes(present: Sequence[Segment], added: Sequence[Segment]) -> tuple[dict[int, int], tuple[Segment, ...]]:
    """The value that each added value becomes, and all classes."""
    by_name = {segment.name: segment for segment in present}
    taken = {segment.value for segment in present} | {s.value for s in added if s.name not in by_name}
    result = {segment.value: segment for segment in present}
    mapping: dict[int, int] = {}
    for segment in added:
        known = by_name.get(segment.name)
        if known is not None:
            mapping[segment.value] = known.value
            continue
        value = segment.value
        if value in result:
            value = next(free for free in range(1, MAX_LABEL + 1) if free not in taken)
        taken.add(value)
        mapping[segment.value] = value
        result[value] = replace(segment, value=value)
    return mapping, tuple(result[value] for value in sorted(result))


def _mapped(labels: np.ndarray, mapping: dict[int, int]) -> np.ndarray:
    unknown = {int(value) for value in np.unique(labels)} - {0, *mapping}
    if unknown:
        raise InputError(f"Label {min(unknown)} has no class; name a class for each label.")
    table = np.zeros(max(mapping, default=0) + 1, dtype=np.uint16)
    for old, new in mapping.items():
        table[old] = new
    result = table[labels]
    return result.astype(np.uint8) if result.max(initial=0) < 256 else result
