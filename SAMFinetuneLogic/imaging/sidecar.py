"""The JSON file beside a label map: what NIfTI has no room for, and nothing about the patient."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import InputError, OutputError
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
    write_json(path, sidecar_content(label_map.name, segments, provenance), overwrite)
    return path


def sidecar_content(name: str, segments: Sequence[Segment], provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    """What stands in the sidecar of the label map ``name``."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "label_map": name,
        "segments": [{"value": s.value, "name": s.name, "color": [round(c, 6) for c in s.color]} for s in segments],
        "provenance": dict(provenance or {}),
    }


def check_sidecar(label_map: Path) -> None:
    """Look whether the JSON file beside ``label_map`` may be replaced, where there is one.

    Raises:
        OutputError: it is another tool's, or describes another label map that is still there (``liver.nii`` and
            ``liver.nii.gz`` share a name).
    """
    path = sidecar_path(label_map)
    if not path.exists():
        return
    if not is_sidecar(path):
        raise OutputError(f"{path} is another tool's file and would be lost; choose another name for the result.")
    described = path.with_name(str(json.loads(path.read_text(encoding="utf-8")).get("label_map", label_map.name)))
    if described.name != label_map.name and described.exists():
        raise OutputError(f"{path} belongs to {described.name} and would be lost; choose another name for the result.")


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
