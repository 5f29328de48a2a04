"""Reading a checkpoint file into a flat dictionary of tensors, whatever wrapper it came in."""

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from SAMFinetuneLogic.errors import ModelError

StateDict = dict[str, torch.Tensor]

METADATA_KEY = "samfinetune"
"""Our own safetensors checkpoints carry JSON under this key of their metadata."""

_WRAPPERS = ("model", "model_state", "state_dict", "model_state_dict")
_PREFIXES = ("module.sam.", "module.", "sam.")
_SAM_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")

_PUBLISHED = "a PyTorch (.pth, .pt) or safetensors checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by official SAM name, on the CPU.

    Attributes:
        state: the tensors.
        metadata: the JSON of our own checkpoints; empty for all others.
        names: all top-level names of the file, wrapper included, for saying what an unknown file looks like.
    """

    state: StateDict
    metadata: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a PyTorch or safetensors checkpoint. Only tensors are unpickled (``weights_only=True``).

    Raises:
        ModelError: there is no such file, or it is not a checkpoint; the message says what it looks like.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"The checkpoint {path} {what}: give {_PUBLISHED}.")
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise ModelError(f"The checkpoint {path} cannot be read: {error.strerror or error}.") from error
    if _is_safetensors(head):
        return _read_safetensors(path)
    if not head.startswith((b"PK", b"\x80")):
        raise ModelError(f"{path.name} looks like {_kind_of_file(head)}, expected {_PUBLISHED}.")
    content = _read_torch(path, head)
    if not isinstance(content, Mapping):
        raise ModelError(
            f"{path.name} holds a single {type(content).__name__}, expected a dictionary of tensors by name."
        )
    return Checkpoint(_unprefixed(_unwrapped(content)), names=tuple(str(name) for name in content))


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as stream:
            metadata = stream.metadata() or {}
            state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dictionary
        own = json.loads(metadata[METADATA_KEY]) if METADATA_KEY in metadata else {}
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelError(
            f"{path.name} looks like a safetensors file that is damaged or incomplete ({error}): fetch it again."
        ) from error
    return Checkpoint(_unprefixed(state), own, tuple(state))


def _read_torch(path: Path, head: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: torch's remarks on storages mean nothing to the user
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "Unsupported class" in str(error):
            raise ModelError(
                f"{path.name} contains Python objects besides tensors (as SAM-Med2D's checkpoint and some training "
                "checkpoints do), which are not opened because they could run code: save its state dict alone first."
            ) from error
        raise ModelError(f"{path.name} looks like {_kind_of_broken_file(path, head)}.") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{path.name} looks like {_kind_of_broken_file(path, head)}.") from error


def _kind_of_broken_file(path: Path, head: bytes) -> str:
    if not head.startswith(b"PK"):
        return f"a pickle file that is damaged or incomplete, expected {_PUBLISHED}"
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError):
        return "a truncated zip file (a download that stopped early?): fetch it again"
    if "data.pkl" not in names:
        return "a zip file that holds no PyTorch checkpoint: unpack it, and give the checkpoint inside"
    if "constants.pkl" in names:
        return "a TorchScript program, expected a state dict"
    return "a damaged PyTorch checkpoint: fetch it again"


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _kind_of_file(head: bytes) -> str:
    text = head.lstrip().lower()
    if not head:
        return "an empty file"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a link that leads to a login or a confirmation, saved in place of the file)"
    if text.startswith(b"<?xml"):
        return "an XML document (often a server's error message)"
    if text.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer (the file itself was not fetched: run 'git lfs pull')"
    if text.startswith(b"{"):
        return "a JSON file"
    magics = {
        b"\x1f\x8b": "a gzip file",
        b"\x89PNG": "a PNG picture",
        b"\xff\xd8\xff": "a JPEG picture",
        b"\x89HDF": "an HDF5 file",
        b"NRRD": "an NRRD image",
        b"GGUF": "a GGUF file",
        b"%PDF": "a PDF document",
        b"\x1f\x9d": "a compressed archive",
        b"7z\xbc\xaf": "a 7-Zip archive",
        b"Rar!": "a RAR archive",
    }
    for magic, kind in magics.items():
        if head.startswith(magic):
            return kind
    return "a text file" if all(9 <= byte < 127 for byte in head) else "a binary file of an unknown kind"


def _unwrapped(content: Mapping[Any, Any]) -> StateDict:
    """The dictionary of tensors: the content itself or, in training checkpoints, what one of its names holds."""
    tensors = _tensors_of(content)
    if any(name.endswith(".weight") for name in tensors):
        return tensors
    for wrapper in _WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping):
            return _tensors_of(inner)
    return tensors


def _tensors_of(content: Mapping[Any, Any]) -> StateDict:
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _unprefixed(state: StateDict) -> StateDict:
    for prefix in _PREFIXES:
        known = tuple(prefix + part for part in _SAM_PARTS)
        if any(name.startswith(known) for name in state):
            return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
