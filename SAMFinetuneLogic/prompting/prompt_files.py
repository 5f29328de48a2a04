"""Prompt files: 3D Slicer's markups, and a simple JSON for several segments.

The simple form; everything but ``segments`` and one prompt in each of them may be left out::

    {
      "space": "ras",
      "segments": [
        {
          "value": 1, "name": "liver", "color": [0.87, 0.51, 0.4],
          "points": [[12.5, -30, 88.5]],
          "negative_points": [[40, -30, 88.5]],
          "boxes": [[-10, -60, 88.5, 60, 10, 88.5]],
          "scribbles": [[[0, -30, 88.5], [10, -25, 88.5]]],
          "negative_scribbles": [],
          "masks": [{"axis": "k", "index": 12, "mask": {"shape": [512, 512], "data": "..."}}]
        }
      ]
    }

Positions are mm in ``space``: "ras" (default) or "lps". A box is two opposite corners, or any number of corners from
two on, one after the other. Masks are what :func:`write_prompts` makes of mask prompts. Values default to 1, 2, 3, ...
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.files import full_suffix, write_json
from SAMFinetuneLogic.imaging.labels import Segment, segment_color
from SAMFinetuneLogic.prompting.packed import PackedMask
from SAMFinetuneLogic.prompting.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    Position,
    Prompt,
    ScribblePrompt,
    SegmentPrompts,
    as_position,
    slice_from_dict,
    slice_to_dict,
)
from SAMFinetuneLogic.prompting.slicer_markups import parse_markups

_PROMPT_KEYS = ("points", "negative_points", "boxes", "scribbles", "negative_scribbles", "masks")
_SEGMENT_KEYS = ("value", "name", "color", *_PROMPT_KEYS)
_TOP_KEYS = ("space", "segments")


def read_prompts(path: Path) -> list[SegmentPrompts]:
    """Read prompts from Slicer's ``.mrk.json`` or from the simple JSON, told apart by their content.

    A markups file is one segment of value 1, named after the file.

    Raises:
        InputError: the file is missing, is not JSON, has unknown or damaged content, or holds no prompt.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"Cannot read the prompts {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The prompts {path} are not valid JSON ({error}); correct the file.") from error
    if not isinstance(content, Mapping):
        raise InputError(f"The prompts {path} must be a JSON object; see the documentation of prompt files.")
    try:
        if "markups" in content:
            name = path.name.removesuffix(full_suffix(path))
            segments = [SegmentPrompts(Segment(1, name, segment_color(0)), parse_markups(content))]
        else:
            segments = _parse_simple(content)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    if not any(entry.prompts for entry in segments):
        raise InputError(f"{path.name} holds no prompts; place at least one point or box and save it again.")
    return segments


def write_prompts(path: Path, segments: Sequence[SegmentPrompts], overwrite: bool = True) -> None:
    """Write prompts in the simple JSON form, in RAS.

    Raises:
        InputError: the name ends in ``.mrk.json``, which stands for another form.
        OutputError: the file cannot be written.
    """
    if full_suffix(Path(path)).lower() == ".mrk.json":
        raise InputError(f"Prompts of several segments do not fit {Path(path).name}; choose a name ending in .json.")
    content = {"space": "ras", "segments": [_segment_to_dict(entry) for entry in segments]}
    write_json(Path(path), content, overwrite)


def _segment_to_dict(entry: SegmentPrompts) -> dict[str, Any]:
    lists: dict[str, list[Any]] = {key: [] for key in _PROMPT_KEYS}
    for prompt in entry.prompts:
        match prompt:
            case PointPrompt():
                lists["points" if prompt.positive else "negative_points"].append(list(prompt.position))
            case BoxPrompt():
                lists["boxes"].append([part for point in prompt.points for part in point])
            case ScribblePrompt():
                key = "scribbles" if prompt.positive else "negative_scribbles"
                lists[key].append([list(point) for point in prompt.points])
            case MaskPrompt():
                lists["masks"].append({**slice_to_dict(prompt.slice), "mask": prompt.packed.to_dict()})
    segment = entry.segment
    head = {"value": segment.value, "name": segment.name, "color": list(segment.color)}
    return {**head, **{key: prompts for key, prompts in lists.items() if prompts}}


def _parse_simple(content: Mapping[str, Any]) -> list[SegmentPrompts]:
    _check_keys(content, _TOP_KEYS, "the file")
    space = str(content.get("space", "ras")).lower()
    if space not in ("ras", "lps"):
        raise InputError(f"The space {space!r} is unknown; use 'ras' or 'lps'.")
    entries = content.get("segments")
    if not isinstance(entries, list) or not entries:
        raise InputError('There is no list of segments; write {"segments": [{"points": [[R, A, S]]}]}.')
    segments = [_parse_segment(entry, number, -1.0 if space == "lps" else 1.0) for number, entry in enumerate(entries)]
    values = [entry.segment.value for entry in segments]
    if len(set(values)) < len(values):
        raise InputError("Two segments have the same value; give each its own.")
    return segments


def _parse_segment(entry: Any, number: int, sign: float) -> SegmentPrompts:
    if not isinstance(entry, Mapping):
        raise InputError(f"Segment {number + 1} must be a JSON object.")
    _check_keys(entry, _SEGMENT_KEYS, f"segment {number + 1}")
    value = entry.get("value", number + 1)
    if type(value) is not int:
        raise InputError(f"The value of segment {number + 1} must be a whole number, not {value!r}.")
    color = entry.get("color", segment_color(number))
    try:
        red, green, blue = (float(part) for part in color)
    except (TypeError, ValueError) as error:
        raise InputError(f"The colour of segment {number + 1} must be three numbers from 0 to 1.") from error
    segment = Segment(value, str(entry.get("name", f"Segment_{value}")), (red, green, blue))

    def position(content: Any) -> Position:
        x, y, z = as_position(content)
        return sign * x, sign * y, z

    def stroke(content: Any) -> tuple[Position, ...]:
        return tuple(position(point) for point in _list(content, "a scribble"))

    prompts: list[Prompt] = []
    lists = {key: _list(entry.get(key, []), key) for key in _PROMPT_KEYS}
    prompts += [PointPrompt(position(point)) for point in lists["points"]]
    prompts += [PointPrompt(position(point), False) for point in lists["negative_points"]]
    for box in lists["boxes"]:
        numbers = _list(box, "a box")
        if len(numbers) < 6 or len(numbers) % 3:
            raise InputError(f"A box must be six numbers, two corners one after the other, not {box!r}.")
        prompts.append(BoxPrompt(tuple(position(numbers[n : n + 3]) for n in range(0, len(numbers), 3))))
    prompts += [ScribblePrompt(stroke(points)) for points in lists["scribbles"]]
    prompts += [ScribblePrompt(stroke(points), False) for points in lists["negative_scribbles"]]
    for mask in lists["masks"]:
        if not isinstance(mask, Mapping) or not isinstance(mask.get("mask"), Mapping):
            raise InputError("A mask must have an axis, an index and a mask.")
        prompts.append(MaskPrompt(slice_from_dict(mask), PackedMask.from_dict(mask["mask"])))
    return SegmentPrompts(segment, tuple(prompts))


def _list(content: Any, what: str) -> list[Any]:
    if not isinstance(content, list):
        raise InputError(f"{what[0].upper()}{what[1:]} must be a list, not {content!r}.")
    return content


def _check_keys(content: Mapping[str, Any], valid: tuple[str, ...], what: str) -> None:
    unknown = sorted(set(content) - set(valid))
    if unknown:
        raise InputError(f"Unknown entry {unknown[0]!r} in {what}; use {', '.join(valid)}.")
