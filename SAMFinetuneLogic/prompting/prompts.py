"""Prompts: what the user draws. All positions are RAS in mm, so that a prompt survives resampling and reload.

They are mapped to the pixels of a slice late, by :mod:`SAMFinetuneLogic.prompting.placement`. No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import AXES, SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.prompting.packed import PackedMask

Position = tuple[float, float, float]


@dataclass(frozen=True)
class PointPrompt:
    """A click inside (positive) or outside (negative) of the structure."""

    position: Position
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", as_position(self.position))

    def to_dict(self) -> dict[str, Any]:
        """For JSON; :func:`prompt_from_dict` reads it."""
        return {"type": "point", "position": list(self.position), "positive": self.positive}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "PointPrompt":
        """The inverse of :meth:`to_dict`."""
        return cls(content["position"], _flag(content.get("positive", True)))


@dataclass(frozen=True)
class BoxPrompt:
    """A box around the structure, aligned with the voxel grid.

    Attributes:
        points: at least two RAS points; their bounds in voxel space are the box. Two opposite corners (centres
            of the first and last voxels), or the eight corners of an ROI, which may be rotated.
    """

    points: tuple[Position, ...]

    def __post_init__(self) -> None:
        points = tuple(as_position(point) for point in self.points)
        if len(points) < 2:
            raise InputError("A box needs at least two corners; give two opposite ones.")
        object.__setattr__(self, "points", points)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; :func:`prompt_from_dict` reads it."""
        return {"type": "box", "points": [list(point) for point in self.points]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "BoxPrompt":
        """The inverse of :meth:`to_dict`."""
        return cls(tuple(content["points"]))


@dataclass(frozen=True)
class ScribblePrompt:
    """A stroke inside (positive) or outside (negative) of the structure.

    Attributes:
        points: RAS points joined by straight lines, in the order of drawing; one point is a dot.
    """

    points: tuple[Position, ...]
    positive: bool = True

    def __post_init__(self) -> None:
        points = tuple(as_position(point) for point in self.points)
        if not points:
            raise InputError("A scribble needs at least one point; draw it again.")
        object.__setattr__(self, "points", points)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; :func:`prompt_from_dict` reads it."""
        return {"type": "scribble", "points": [list(point) for point in self.points], "positive": self.positive}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ScribblePrompt":
        """The inverse of :meth:`to_dict`."""
        return cls(tuple(content["points"]), _flag(content.get("positive", True)))


@dataclass(frozen=True)
class MaskPrompt:
    """A rough mask of one slice, to be improved. Unlike the others it belongs to the voxel grid.

    Attributes:
        slice: the slice that it lies on.
        packed: its (rows, cols) pixels, of the shape of that slice.
    """

    slice: SliceIndex
    packed: PackedMask

    @classmethod
    def from_mask(cls, slice_index: SliceIndex, mask: np.ndarray) -> "MaskPrompt":
        """From a (rows, cols) array; values other than 0 are inside.

        Raises:
            InputError: the mask is empty.
        """
        if not np.any(mask):
            raise InputError("A mask prompt needs at least one pixel; draw it again.")
        return cls(slice_index, PackedMask.pack(mask))

    def mask(self) -> np.ndarray:
        """A new boolean (rows, cols) array."""
        return self.packed.unpack()

    def to_dict(self) -> dict[str, Any]:
        """For JSON; :func:`prompt_from_dict` reads it."""
        return {"type": "mask", **slice_to_dict(self.slice), "mask": self.packed.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "MaskPrompt":
        """The inverse of :meth:`to_dict`."""
        return cls(slice_from_dict(content), PackedMask.from_dict(content["mask"]))


Prompt = PointPrompt | BoxPrompt | ScribblePrompt | MaskPrompt

PROMPT_TYPES: Mapping[str, type[PointPrompt] | type[BoxPrompt] | type[ScribblePrompt] | type[MaskPrompt]] = {
    "point": PointPrompt,
    "box": BoxPrompt,
    "scribble": ScribblePrompt,
    "mask": MaskPrompt,
}
"""The names under which prompts are stored."""


@dataclass(frozen=True)
class SegmentPrompts:
    """All prompts of one segment."""

    segment: Segment
    prompts: tuple[Prompt, ...]


def prompt_from_dict(content: Mapping[str, Any]) -> Prompt:
    """The prompt that ``to_dict`` of any of the four types wrote.

    Raises:
        InputError: an unknown type, or missing or wrong values.
    """
    kind = content.get("type") if isinstance(content, Mapping) else None
    if not isinstance(kind, str) or kind not in PROMPT_TYPES:
        raise InputError(f"Unknown prompt type {kind!r}; use one of {', '.join(PROMPT_TYPES)}.")
    try:
        return PROMPT_TYPES[kind].from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"A stored {kind} prompt is damaged ({error}); correct it or remove it.") from error


def is_positive(prompt: Prompt) -> bool:
    """Whether a prompt says where the structure is: all do but points and scribbles outside of it."""
    return not isinstance(prompt, PointPrompt | ScribblePrompt) or prompt.positive


def slice_to_dict(slice_index: SliceIndex) -> dict[str, Any]:
    """A slice for JSON."""
    return {"axis": slice_index.axis, "index": slice_index.index}


def slice_from_dict(content: Mapping[str, Any]) -> SliceIndex:
    """The slice that :func:`slice_to_dict` wrote.

    Raises:
        InputError: not an axis and a whole number.
    """
    axis, index = content.get("axis"), content.get("index")
    if axis not in AXES or not isinstance(index, int) or isinstance(index, bool):
        raise InputError(f"A slice needs an axis (i, j or k) and a whole number as index, not {axis!r} and {index!r}.")
    return SliceIndex(axis, index)


def as_position(value: Sequence[float]) -> Position:
    """Three finite numbers as a tuple.

    Raises:
        InputError: anything else.
    """
    try:
        position = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        position = ()
    if isinstance(value, str) or len(position) != 3 or not all(isfinite(part) for part in position):
        raise InputError(f"A position must be three finite numbers in mm, not {value!r}.")
    return position[0], position[1], position[2]


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"A prompt's 'positive' must be true or false, not {value!r}.")
    return value
