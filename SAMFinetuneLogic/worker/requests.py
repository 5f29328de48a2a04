"""What can be asked of the model. Knows no torch: these values are made in the user interface."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.propagation.options import PropagationOptions


@dataclass(frozen=True)
class ModelChoice:
    """What to load.

    Attributes:
        model: id of the catalogue, or the path of a checkpoint.
        device, precision: as :func:`SAMFinetuneLogic.models.loading.load_model` takes them.
        folder: of the model files; None for the default one.
        adapter: folder of an adapter to put onto the model, or None.
        cache_mb: memory for embeddings.
        cache_folder: where embeddings are also kept on disk, or None. It holds image content.
        cache_disk_mb: bound on that folder.
    """

    model: str = DEFAULT_MODEL_ID
    device: str = "auto"
    precision: str = "auto"
    folder: Path | None = None
    adapter: Path | None = None
    cache_mb: int = 512
    cache_folder: Path | None = None
    cache_disk_mb: int = 4096


@dataclass(frozen=True, eq=False)
class LabelledSlices:
    """Slices of a volume to learn from.

    Attributes:
        volume: the image.
        labels: on its grid; a listed slice without labels says that the structures are absent there.
        indices: of the slices.
        axis: of the slices.
        window: how the values are shown; None for the automatic one.
    """

    volume: Volume
    labels: LabelMap
    indices: tuple[int, ...]
    axis: Axis = "k"
    window: Window | None = None


@dataclass(frozen=True)
class Load:
    """Load a model; the answer is a ``ModelInfo``."""

    choice: ModelChoice


@dataclass(frozen=True, eq=False)
class Embed:
    """Encode a slice, so that it lies in the cache; the answer is None."""

    image: SliceImage


@dataclass(frozen=True, eq=False)
class Predict:
    """Answer the prompts of one segment on a slice with ``CutCandidates``.

    Attributes:
        image: the slice.
        prompts: in its pixels.
        feedback: (h, w) logits of the mask chosen before, or None.
        alternatives: the candidates that are not chosen are to be as sharp as the one that is.
    """

    image: SliceImage
    prompts: SlicePrompts
    feedback: np.ndarray | None
    alternatives: bool = False


@dataclass(frozen=True, eq=False)
class Propagate:
    """Fill in a volume; the answer is a ``PropagationResult``."""

    volume: Volume
    labels: LabelMap
    options: PropagationOptions
    window: Window | str


@dataclass(frozen=True, eq=False)
class Collect:
    """Read a few-shot collection, after changing it where anything is given; the answer is a ``CollectionInfo``.

    Attributes:
        path: of the collection; made if it is not there.
        add: labelled slices to encode and add.
        remove: identities of slices to take out.
        merge: collections to take in.
        reencode: make a collection of another model fit the loaded one.
    """

    path: Path
    add: tuple[LabelledSlices, ...]
    remove: tuple[tuple[str, SliceIndex], ...]
    merge: tuple[Path, ...]
    reencode: bool


@dataclass(frozen=True)
class Fit:
    """Fit the few-shot decoder to a collection and store it there; the answer is a ``FitRecord``.

    Attributes:
        path: of the collection.
        settings: None for those of the earlier fit, else the defaults.
        fresh: forget the earlier fit.
    """

    path: Path
    settings: FitSettings | None
    fresh: bool


@dataclass(frozen=True, eq=False)
class Apply:
    """Segment a volume with a collection's decoder; the answer is a ``VolumeResult``."""

    path: Path
    volume: Volume
    axis: str | None
    window: Window | str | None
    indices: tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class ApplyAdapter:
    """Segment a volume with an adapter of automatic mode on the loaded model; the answer is a ``VolumeResult``."""

    folder: Path
    volume: Volume
    axis: str | None


QuickRequest = Load | Embed | Predict
LongRequest = Propagate | Collect | Fit | Apply | ApplyAdapter
Request = QuickRequest | LongRequest


def is_long(request: Request) -> bool:
    """Whether a request takes seconds to minutes, with progress, beside which clicks are answered."""
    return isinstance(request, LongRequest)


def volumes_of(request: Request) -> Sequence[Volume]:
    """The volumes that a request is about."""
    match request:
        case Propagate() | Apply() | ApplyAdapter():
            return (request.volume,)
        case Collect():
            return tuple(entry.volume for entry in request.add)
    return ()
