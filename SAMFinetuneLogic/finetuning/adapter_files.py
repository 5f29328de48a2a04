"""Adapters on disk: a folder with the trained weights (safetensors) and what they are (JSON)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load

from SAMFinetuneLogic import __version__
from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.files import sha256_of, write_json
from SAMFinetuneLogic.finetuning.adapt import Adapted, adapt
from SAMFinetuneLogic.finetuning.strategy import Mode, Strategy
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.tensor_files import write_tensors

WEIGHTS_FILE, RECORD_FILE = "adapter.safetensors", "adapter.json"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class AdapterInfo:
    """What is known of an adapter without loading it.

    Attributes:
        folder: where it lies.
        base_id, base_title, base_sha256: the model that it was trained on.
        strategy, mode, classes: as for :func:`SAMFinetuneLogic.finetuning.adapt.adapt`.
        weights_sha256: of its weights file.
        record: how it was trained and how it scored.
    """

    folder: Path
    base_id: str
    base_title: str
    base_sha256: str
    strategy: Strategy
    mode: Mode
    classes: tuple[str, ...]
    weights_sha256: str
    record: dict[str, Any]


def save_adapter(adapted: Adapted, folder: Path, record: dict[str, Any]) -> None:
    """Write an adapter; the JSON comes last, and only with it is the folder an adapter.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    weights = folder / WEIGHTS_FILE
    write_tensors(weights, adapted.trainable_state(), {"format": "pt"})
    base = adapted.base
    content = {
        "format": _FORMAT,
        "version": __version__,
        "base": {
            "id": base.entry.id,
            "title": base.entry.title,
            "backbone": base.entry.backbone,
            "sha256": base.weights_sha256,
        },
        "strategy": adapted.strategy.to_json(),
        "mode": adapted.mode,
        "classes": list(adapted.classes),
        "parameters": adapted.trainable_count(),
        "weights_sha256": sha256_of(weights),
        "record": record,
    }
    write_json(folder / RECORD_FILE, content)


def read_adapter(folder: Path) -> AdapterInfo:
    """Read what an adapter is.

    Raises:
        ModelError: the folder holds no adapter, or a damaged one.
    """
    folder = Path(folder)
    path = folder / RECORD_FILE
    if not path.is_file():
        raise ModelError(f"{folder} holds no adapter ({RECORD_FILE} is missing): give the folder of an adapter.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
        if version != _FORMAT:
            raise ModelError(f"The adapter in {folder} has format {version}, this release reads {_FORMAT}: update.")
        base = content["base"]
        return AdapterInfo(
            folder=folder,
            base_id=base["id"],
            base_title=base["title"],
            base_sha256=base["sha256"],
            strategy=Strategy.from_json(content["strategy"]),
            mode=content["mode"],
            classes=tuple(content["classes"]),
            weights_sha256=content["weights_sha256"],
            record=content["record"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The adapter in {folder} is damaged ({path.name} cannot be read): train it again.") from error


def load_adapter(base: LoadedModel, folder: Path) -> Adapted:
    """Put an adapter on the model that it was trained on.

    Raises:
        ModelError: the adapter is damaged or belongs to another model; the message names that model.
    """
    info = read_adapter(folder)
    if info.base_sha256 != base.weights_sha256:
        raise ModelError(
            f"The adapter in {folder} was trained on {info.base_title} ({info.base_id}, SHA-256 "
            f"{info.base_sha256[:12]}), not on {base.entry.title} ({base.weights_sha256[:12]}): choose that model."
        )
    weights = info.folder / WEIGHTS_FILE
    if not weights.is_file() or sha256_of(weights) != info.weights_sha256:
        raise ModelError(f"The adapter in {folder} is damaged ({WEIGHTS_FILE} is missing or changed): train it again.")
    try:
        state = load(weights.read_bytes())  # by name it opens none whose folder's name is no text
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The adapter in {folder} is damaged ({WEIGHTS_FILE} cannot be read): train it again."
        ) from error
    adapted = adapt(base, info.strategy, info.mode, info.classes)
    adapted.load_trainable_state(state)
    return adapted
