"""Writing tensors: all of it takes its place at once or not at all, and a full disk is said."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from SAMFinetuneLogic.files import atomic_target


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], overwrite: bool = True
) -> None:
    """Write named tensors of any device as safetensors, with texts beside them.

    Raises:
        OutputError: the file cannot be written, or exists and ``overwrite`` is False.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(kept, dict(metadata))
    with atomic_target(path, overwrite) as temporary:
        temporary.write_bytes(content)  # by Python: the errors of safetensors' own writer do not say what is wrong


def write_state(path: Path, state: Any) -> None:
    """Write the state of a training as ``torch.save`` does; an older file stays until the new one is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()  # torch's own writer, too, turns a full disk into an error that does not say so
    torch.save(state, buffer)
    with atomic_target(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
