"""Prompts from 3D Slicer's markups files (``.mrk.json``).

What becomes of the markups of a file, all for one segment:

========================== =====================================================================================
Fiducial (point list)      points. A control point is negative if its description or its label says so: ``-``
                           alone, or ``neg`` or ``negative``, in any case, alone or followed by a number or more
                           words (``negative 2``, ``neg-1``). Slicer labels points after their list, so that all
                           points of a list named ``negative`` are. Points without a defined position are left out.
ROI                        a box; a rotated ROI becomes the smallest box of voxels around it.
Plane                      a box too, flat if the plane lies in a slice.
Curve, line                a scribble, straight between the control points; negative if the first point is.
========================== =====================================================================================

Schema: Slicer's ``markups-schema-v1.0.3.json`` and its neighbours. An orientation is a 3 x 3 matrix, row by row,
with the object's axes as columns, in the file's own coordinate system.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, PointPrompt, Position, Prompt, ScribblePrompt, as_position

POINT_TYPES = ("Fiducial",)
BOX_TYPES = ("ROI", "Plane")
SCRIBBLE_TYPES = ("Curve", "Line")

_NEGATIVE = re.compile(r"\s*(-\s*$|neg(ative)?(?![a-z]))", re.IGNORECASE)
_CORNERS = np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5])).reshape(3, -1).T


def parse_markups(content: Mapping[str, Any]) -> tuple[Prompt, ...]:
    """The prompts in the content of a ``.mrk.json`` file.

    Raises:
        InputError: a type of markup that is no prompt, or damaged content.
    """
    markups = content.get("markups")
    if not isinstance(markups, list):
        raise InputError("This is no markups file of Slicer: it has no list 'markups'; save the points again.")
    return tuple(prompt for markup in markups for prompt in _prompts_of(markup))


def _prompts_of(markup: Any) -> list[Prompt]:
    if not isinstance(markup, Mapping):
        raise InputError("The markups file is damaged: a markup is no object; save it again from Slicer.")
    kind = markup.get("type")
    units = markup.get("coordinateUnits", "mm")
    if units != "mm" and units != ["mm", "mm", "mm"]:
        raise InputError(f"The markups file is in {units}; save it in mm.")
    signs = _signs(markup)
    if kind in BOX_TYPES:
        return [_box(markup, signs)]
    if kind not in POINT_TYPES + SCRIBBLE_TYPES:
        known = ", ".join((*POINT_TYPES, *BOX_TYPES, *SCRIBBLE_TYPES))
        raise InputError(f"A markup of type {kind!r} cannot be a prompt; use one of {known}.")
    points = markup.get("controlPoints") or []
    if not isinstance(points, list) or not all(isinstance(point, Mapping) for point in points):
        raise InputError("The markups file is damaged: its control points are no list; save it again from Slicer.")
    defined = [point for point in points if point.get("positionStatus", "defined") == "defined"]
    placed = [(_position(point.get("position"), signs), not _is_negative(point)) for point in defined]
    if kind in POINT_TYPES:
        return [PointPrompt(position, positive) for position, positive in placed]
    return [ScribblePrompt(tuple(position for position, _ in placed), placed[0][1])] if placed else []


def _signs(markup: Mapping[str, Any]) -> np.ndarray:
    """Factors that bring the file's coordinates to RAS."""
    system = str(markup.get("coordinateSystem", "LPS")).upper()
    if system in ("LPS", "1"):
        return np.array([-1.0, -1.0, 1.0])
    if system in ("RAS", "0"):
        return np.ones(3)
    raise InputError(f"The markups file has the coordinate system {system!r}; save it as LPS or RAS.")


def _box(markup: Mapping[str, Any], signs: np.ndarray) -> BoxPrompt:
    kind = markup["type"]
    if markup.get("insideOut"):
        raise InputError("An ROI that is inside out cannot be a prompt; switch 'Inside out' off and save it again.")
    if kind == "ROI" and markup.get("roiType", "Box") not in ("Box", "BoundingBox"):
        raise InputError(f"An ROI of type {markup['roiType']!r} cannot be a prompt; use a box.")
    centre = np.array(_position(markup.get("center"), signs))
    size = _numbers(markup.get("size"), 3, f"size of the {kind}")
    axes = _numbers(markup.get("orientation", [-1, 0, 0, 0, -1, 0, 0, 0, 1]), 9, f"orientation of the {kind}")
    directions = signs[:, None] * axes.reshape(3, 3)
    corners = centre + (_CORNERS * size) @ directions.T
    return BoxPrompt(tuple(as_position(corner) for corner in corners.tolist()))


def _position(value: Any, signs: np.ndarray) -> Position:
    return as_position((signs * _numbers(value, 3, "position")).tolist())


def _numbers(value: Any, count: int, what: str) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if not isinstance(value, Sequence) or array.shape != (count,) or not np.isfinite(array).all():
        raise InputError(f"The markups file is damaged: the {what} must be {count} numbers; save it again from Slicer.")
    return array


def says_negative(*texts: str | None) -> bool:
    """Whether one of a control point's texts (description, label) makes it negative."""
    return any(_NEGATIVE.match(text or "") for text in texts)


def _is_negative(point: Mapping[str, Any]) -> bool:
    return says_negative(*(str(point.get(key) or "") for key in ("description", "label")))
