"""A changed model as a checkpoint of its own, that can be the base of any strategy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.catalogue import load_catalogue
from SAMFinetuneLogic.models.checkpoint_files import METADATA_KEY, read_checkpoint
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.store import ModelStore
from SAMFinetuneLogic.models.tensor_files import write_tensors


def save_base(network: Any, base: LoadedModel, base_name: str, path: Path, record: dict[str, Any]) -> None:
    """Write a network of the same layout as its base.

    Args:
        network: a ``Sam`` without adapters in it.
        base: what it was made from, and ``base_name`` the id or path that it was loaded by.
        path: ends in .safetensors.
        record: where it comes from.

    Raises:
        ModelError: there is more in the network than in its base.
        OutputError: the file cannot be written.
    """
    if network.state_dict().keys() != base.network.state_dict().keys():
        raise ModelError("Adapters of this kind cannot become part of the model: use lora or vanilla for a new base.")
    source = ModelStore().verify(base_name).path if base_name in load_catalogue() else Path(base_name)
    metadata = {
        **read_checkpoint(source).metadata,
        "preprocessing": asdict(base.preprocessing),
        "continued": {"base": base.entry.id, "base_sha256": base.weights_sha256, **record},
    }
    write_tensors(path, network.state_dict(), {METADATA_KEY: json.dumps(metadata)})
