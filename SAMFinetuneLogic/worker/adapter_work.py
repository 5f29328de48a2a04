"""Adapters where the model is: put onto it for prompts, or, trained for that, applied to volumes on their own.

Fine-tuning lies above this layer: it is looked up by name when an adapter is asked for.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.fewshot.results import VolumeResult
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback
from SAMFinetuneLogic.worker.requests import ApplyAdapter

ADAPTER_MODULE = "SAMFinetuneLogic.finetuning.adapter_files"
"""``read_adapter(folder)`` says what an adapter is, ``load_adapter(base, folder)`` puts it onto its base; ``merged()``
of that is a ``LoadedModel``."""
PREDICTING_MODULE = "SAMFinetuneLogic.finetuning.predicting"
"""``predict_volume(adapted, info, base, volume, ...)`` gives a ``VolumeResult``."""


def with_adapter(model: LoadedModel, folder: Path) -> LoadedModel:
    """The model with an adapter on it, to be prompted.

    Raises:
        ModelError: the adapter takes no prompts, is of another model or damaged, or this installation cannot use
            adapters.
    """
    files = _part(ADAPTER_MODULE)
    if files.read_adapter(folder).mode == "automatic":
        raise ModelError("This adapter takes no prompts: apply it to whole volumes instead.")
    merged: LoadedModel = files.load_adapter(model, folder).merged()
    return merged


def apply_adapter(
    request: ApplyAdapter, base: LoadedModel, progress: ProgressCallback, cancelled: CancelCheck | None
) -> VolumeResult:
    """Segment a volume with an adapter of automatic mode.

    Args:
        base: without any adapter.

    Raises:
        InputError: the adapter needs prompts.
        ModelError: as :func:`with_adapter`.
        Cancelled: on request.
    """
    files, predicting = _part(ADAPTER_MODULE), _part(PREDICTING_MODULE)
    info = files.read_adapter(request.folder)
    adapted = files.load_adapter(base, request.folder)
    found: VolumeResult = predicting.predict_volume(
        adapted, info, base, request.volume, request.axis, progress=progress, cancelled=cancelled
    )
    return found


def _part(name: str) -> Any:
    if find_spec(name) is None:
        raise ModelError("This installation holds no fine-tuning and cannot use adapters: switch the adapter off.")
    return importlib.import_module(name)
