"""From a checkpoint file to a network, or to a sentence that says what is wrong with the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.catalogue import Backbone, ModelEntry
from SAMFinetuneLogic.models.checkpoint_files import Checkpoint, StateDict, read_checkpoint
from SAMFinetuneLogic.models.checkpoint_layouts import BACKBONE_TITLES, describe, is_encoder_only, recognise
from SAMFinetuneLogic.models.networks import Sam, build_network, load_network, require_match, without_unused_head


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A network filled from a file, in fp32 on the CPU; ``metadata`` is that of our own checkpoints."""

    network: Sam
    backbone: Backbone
    metadata: Mapping[str, Any]


def open_checkpoint(path: Path, expected: Backbone | None = None) -> OpenedCheckpoint:
    """Load a file whose layout is recognised by its tensors.

    Args:
        expected: the backbone that the file must have; None accepts every known one.

    Raises:
        ModelError: the file is no checkpoint, of another kind, incomplete, or not of the expected backbone.
    """
    checkpoint = read_checkpoint(path)
    backbone = _require_backbone(checkpoint, path, expected)
    if is_encoder_only(checkpoint.state):
        raise ModelError(
            f"{path.name} looks like {describe(checkpoint)}; without one it cannot answer prompts: "
            "use it as a starting point for fine-tuning, or choose a complete model."
        )
    _require_stock_decoder(checkpoint, path, backbone)
    network = load_network(checkpoint.state, backbone, path.name, checkpoint.metadata.get("config"))
    return OpenedCheckpoint(network, backbone, checkpoint.metadata)


def check_file(path: Path, entry: ModelEntry) -> None:
    """Check that a file has the layout of a catalogue entry, without building the network in memory.

    Raises:
        ModelError: it has not.
    """
    checkpoint = read_checkpoint(path)
    if entry.encoder_only:
        _check_encoder(checkpoint, path, entry)
        return
    backbone = _require_backbone(checkpoint, path, entry.backbone)
    _require_stock_decoder(checkpoint, path, backbone)
    with torch.device("meta"):
        network = build_network(backbone, checkpoint.metadata.get("config"))
    require_match(network, without_unused_head(checkpoint.state, backbone), path.name)


def encoder_state(checkpoint: Checkpoint) -> StateDict:
    """The image encoder's tensors by their names within the encoder."""
    prefix = "image_encoder."
    inside = {name.removeprefix(prefix): value for name, value in checkpoint.state.items() if name.startswith(prefix)}
    return inside or dict(checkpoint.state)


def _check_encoder(checkpoint: Checkpoint, path: Path, entry: ModelEntry) -> None:
    with torch.device("meta"):
        encoder = build_network(entry.backbone).image_encoder
    try:
        require_match(encoder, encoder_state(checkpoint), path.name)
    except ModelError as error:
        raise ModelError(
            f"{path.name} looks like {describe(checkpoint)}, expected the image encoder of "
            f"{BACKBONE_TITLES[entry.backbone]} for '{entry.id}'; {error}"
        ) from error


def _require_backbone(checkpoint: Checkpoint, path: Path, expected: Backbone | None) -> Backbone:
    backbone = recognise(checkpoint)
    if backbone is not None and expected in (None, backbone):
        return backbone
    if expected is None:
        known = ", ".join(f"{title} ({name})" for name, title in BACKBONE_TITLES.items())
        raise ModelError(f"{path.name} looks like {describe(checkpoint)}, expected one of: {known}.")
    raise ModelError(
        f"{path.name} looks like {describe(checkpoint)}, expected {BACKBONE_TITLES[expected]} ({expected})."
    )


def _require_stock_decoder(checkpoint: Checkpoint, path: Path, backbone: Backbone) -> None:
    """Checkpoints of SAM's family whose head or input size was changed get a sentence of their own."""
    found = describe(checkpoint)
    if backbone != "compact" and found != BACKBONE_TITLES[backbone]:
        raise ModelError(f"{path.name} looks like {found}, expected {BACKBONE_TITLES[backbone]} ({backbone}).")
