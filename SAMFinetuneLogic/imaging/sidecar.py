"""The JSON file beside a label map: what NIfTI has no room for, and nothing about the patient."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.files import full_suffix, write_json
from SAMFinetuneLogic.imaging.labels import Segment

FORMAT = "SAMFinetune label map"
VERSION = 1


def sidecar_path(label_map: Path) -> Path:
    """``liver.nii.gz`` -> ``liver.json``, in the same folder."""
    return label_map.with_name(label_map.name.removesuffix(full_suffix(label_map)) + ".json")


def write_sidecar(
    label_map: Path, segments: Sequence[Segment], provenance: Mapping[str, Any] | None, overwrite: bool = True
) -> Path:
    """Write names and colours of ``segments`` and the provenance beside ``label_map``; returns the path.

    The provenance (image, model and hash, prompts, window, version) is written as the caller gives it.
    """
    path = sidecar_path(label_map)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "label_map": label_map.name,
        "segments": [{"value": s.value, "name": s.name, "color": [round(c, 6) for c in s.color]} for s in segments],
        "provenance": dict(provenance or {}),
    }
    write_json(path, content, overwrite)
    return path


def is_sidecar(path: Path) -> bool:
    """Whether ``path`` is a sidecar of ours, and not another tool's JSON of that name (BIDS has such)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def read_sidecar(label_map: Path) -> tuple[Segment, ...]:
    """The segments that the sidecar of ``label_map`` names; none without a sidecar of ours.

    Raises:
        InputError: the sidecar is ours but damaged, or newer than this version of the package.
    """
    path = sidecar_path(label_map)
    if path == label_map or not is_sidecar(path):
        return ()
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("version") != VERSION:
        raise InputError(f"{path} has version {content.get('version')}, not {VERSION}; update SAMFinetune to read it.")
    try:
        return tuple(
            Segment(int(entry["value"]), str(entry["name"]), _color(entry["color"])) for entry in content["segments"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The segments in {path} are damaged; correct or delete that file.") from error


def _color(parts: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(part) for part in parts)
    return red, green, blue
