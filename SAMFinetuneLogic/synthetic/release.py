"""Turning a training state into the checkpoint that users get."""

import json
from pathlib import Path
from typing import Any

import torch

from SAMFinetuneLogic import __version__
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.models.checkpoint_files import METADATA_KEY
from SAMFinetuneLogic.models.compact import build_compact_sam
from SAMFinetuneLogic.models.tensor_files import write_tensors

_PREPROCESSING = {"normalisation": "sam", "geometry": "longest_pad", "coordinates": "centre"}
_RECORD_LINES = 40


def export_checkpoint(state_file: Path, target: Path) -> Path:
    """Write the averaged weights of a training state as half-precision safetensors with their training record.

    Raises:
        InputError: there is no training state.
        OutputError: the file cannot be written.
    """
    if not state_file.exists():
        raise InputError(f"There is no training state at {state_file}: train first, or give the training's folder.")
    state = torch.load(state_file, map_location="cpu", weights_only=True)
    network = build_compact_sam(state["config"])
    with torch.no_grad():
        for parameter, average in zip(network.parameters(), state["average"], strict=True):
            parameter.copy_(average)
        network.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(state["position"])
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    metadata = {
        "config": state["config"],
        "preprocessing": {**_PREPROCESSING, "size": state["config"]["size"]},
        "training": training_record(state),
    }
    write_tensors(target, tensors, {METADATA_KEY: json.dumps(metadata), "format": "pt"})
    return target


def training_record(state: dict[str, Any]) -> dict[str, Any]:
    """What is known of a training: settings, length, and its course thinned to some forty lines."""
    history = state["history"]
    thinned = history[:: max(1, len(history) // _RECORD_LINES)]
    record = {
        "data": "synthetic images only (SAMFinetuneLogic.synthetic); no image of a patient",
        "settings": state["settings"],
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60, 1),
        "history": [{key: round(value, 4) for key, value in line.items()} for line in thinned],
        "version": __version__,
    }
    return {**record, "earlier": state["earlier"]} if state.get("earlier") else record
