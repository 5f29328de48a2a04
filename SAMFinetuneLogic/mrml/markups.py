"""Markups to prompts, and points back to be shown again after undo or reload.

========================== ===========================================================================================
Point list                 points; those not yet placed, or only previewed under the cursor, do not count. Negative are
                           all points of a list that says so (:func:`set_negative`), and single points whose
                           description or label begins with ``-`` or ``neg``, as in markups files.
ROI, plane                 a box around its corners in world space; flat if it lies in a slice.
Line, curve                a scribble along what is shown, smooth curves included.
Closed curve               a lasso: the mask of what it encloses on its slice.
========================== ===========================================================================================

Parent transforms of the markups, linear and non-linear, are part of where their points are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.matrices import to_world_points
from SAMFinetuneLogic.mrml.polygons import fill_polygon
from SAMFinetuneLogic.prompting.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    Position,
    Prompt,
    ScribblePrompt,
    as_position,
)
from SAMFinetuneLogic.prompting.slicer_markups import says_negative

POLARITY = "SAMFinetune.Polarity"
"""Attribute of a markups node: ``positive`` or ``negative``."""

_UNIT_CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


@dataclass(frozen=True)
class Lasso:
    """What a closed curve encloses.

    Attributes:
        prompt: its mask on the slice nearest to it.
        notice: a sentence if the curve does not lie in that slice, or None.
    """

    prompt: MaskPrompt
    notice: str | None


def set_negative(markups_node: Any, negative: bool) -> None:
    """Let all prompts of a markups node be negative, or positive whatever their labels say."""
    markups_node.SetAttribute(POLARITY, "negative" if negative else "positive")


def is_negative(markups_node: Any, n: int = 0) -> bool:
    """Whether the n-th control point means "not here"."""
    stated = markups_node.GetAttribute(POLARITY)
    if stated in ("positive", "negative"):
        return bool(stated == "negative")
    return says_negative(
        markups_node.GetNthControlPointDescription(n), markups_node.GetNthControlPointLabel(n), markups_node.GetName()
    )


def is_placed(markups_node: Any, n: int) -> bool:
    """Whether the n-th control point has been placed: not waiting, not under the cursor only, not skipped."""
    return bool(markups_node.GetNthControlPointPositionStatus(n) == markups_node.PositionDefined)


def point_prompt(markups_node: Any, n: int) -> PointPrompt:
    """The n-th control point of a point list.

    Raises:
        InputError: there is no such point, or it has not been placed yet.
    """
    if not 0 <= n < markups_node.GetNumberOfControlPoints() or not is_placed(markups_node, n):
        raise InputError(f"Point {n + 1} of {markups_node.GetName()} is not placed yet: click in a slice view.")
    return PointPrompt(_position(markups_node, n), not is_negative(markups_node, n))


def prompts_of(markups_node: Any, volume: Volume | None = None, axis: Axis | None = None) -> tuple[Prompt, ...]:
    """All prompts of a markups node; none if nothing of it has been placed.

    Args:
        volume: needed for closed curves, whose masks belong to its grid.
        axis: of the slice that a closed curve lies on; None for the one it fits best.

    Raises:
        InputError: a kind of markup that cannot be a prompt.
        GeometryError: a closed curve lies outside of the volume.
    """
    placed = [n for n in range(markups_node.GetNumberOfControlPoints()) if is_placed(markups_node, n)]
    if markups_node.IsA("vtkMRMLMarkupsROINode") or markups_node.IsA("vtkMRMLMarkupsPlaneNode"):
        box = _roi_box(markups_node) if markups_node.IsA("vtkMRMLMarkupsROINode") else _plane_box(markups_node)
        return (box,) if box is not None else ()
    if markups_node.IsA("vtkMRMLMarkupsClosedCurveNode"):
        if volume is None:
            raise InputError(f"The closed curve {markups_node.GetName()} needs a volume: choose one.")
        return (lasso(markups_node, volume, axis).prompt,) if len(placed) >= 3 else ()
    if markups_node.IsA("vtkMRMLMarkupsCurveNode") or markups_node.IsA("vtkMRMLMarkupsLineNode"):
        if not placed:
            return ()
        points = _curve_points(markups_node) if len(placed) > 1 else np.array([_position(markups_node, placed[0])])
        return (ScribblePrompt(_positions(points), not is_negative(markups_node, placed[0])),)
    if markups_node.IsA("vtkMRMLMarkupsFiducialNode"):
        return tuple(point_prompt(markups_node, n) for n in placed)
    kind = markups_node.GetMarkupType() if hasattr(markups_node, "GetMarkupType") else markups_node.GetClassName()
    raise InputError(f"{markups_node.GetName()} is a {kind}, which cannot be a prompt: use points, an ROI or a curve.")


def lasso(curve_node: Any, volume: Volume, axis: Axis | None = None) -> Lasso:
    """The mask that a closed curve encloses on the volume's slice nearest to it.

    Args:
        axis: of the slice; None for the axis along which the curve is flattest.

    Raises:
        InputError: fewer than three points, or no pixel inside.
        GeometryError: the curve lies outside of the volume.
    """
    points = _curve_points(curve_node)
    if len(points) < 3:
        raise InputError(f"The lasso {curve_node.GetName()} needs at least three points: draw on.")
    ijk = volume.to_ijk(points)
    spreads = np.ptp(ijk, axis=0)
    chosen: Axis = axis or AXES[min(range(3), key=lambda n: (round(float(spreads[n]), 3), -n))]
    positions = volume.ras_to_slice(points, chosen)
    index = int(np.floor(positions[:, 0].mean() + 0.5))
    if not 0 <= index < volume.slice_count(chosen):
        raise GeometryError(
            f"The lasso {curve_node.GetName()} lies outside of the volume: draw it on one of its slices."
        )
    mask = fill_polygon(positions[:, 1:], volume.slice_shape(chosen))
    if not mask.any():
        raise InputError(f"The lasso {curve_node.GetName()} encloses no pixel: draw it larger.")
    tilted = float(np.abs(positions[:, 0] - index).max()) > 0.75
    notice = f"The lasso crosses several slices; it was taken on slice {chosen}={index}, the nearest to its middle."
    return Lasso(MaskPrompt.from_mask(SliceIndex(chosen, index), mask), notice if tilted else None)


def set_points(markups_node: Any, prompts: Sequence[PointPrompt]) -> None:
    """Replace all control points of a point list. Positive and negative ones in it differ by their description."""
    with slicer.util.NodeModify(markups_node):
        markups_node.RemoveAllControlPoints()
        mixed = len({prompt.positive for prompt in prompts}) > 1
        for prompt in prompts:
            n = markups_node.AddControlPointWorld(vtk.vtkVector3d(*prompt.position))
            markups_node.SetNthControlPointDescription(n, "" if prompt.positive else "negative")
        if mixed:
            markups_node.RemoveAttribute(POLARITY)
        elif prompts:
            set_negative(markups_node, not prompts[0].positive)


def _position(markups_node: Any, n: int) -> Position:
    position = [0.0, 0.0, 0.0]
    markups_node.GetNthControlPointPositionWorld(n, position)
    return as_position(position)


def _positions(points: np.ndarray) -> tuple[Position, ...]:
    return tuple(as_position(point) for point in points.tolist())


def _curve_points(markups_node: Any) -> np.ndarray:
    """(N, 3) world points along what is shown of a line or curve."""
    points = markups_node.GetCurvePointsWorld()
    if points is None or points.GetNumberOfPoints() == 0:
        return np.zeros((0, 3))
    return vtk_to_numpy(points.GetData()).astype(np.float64)


def _roi_box(roi_node: Any) -> BoxPrompt | None:
    if roi_node.GetROIType() not in (roi_node.ROITypeBox, roi_node.ROITypeBoundingBox):
        raise InputError(f"The ROI {roi_node.GetName()} is no box: choose the type 'Box'.")
    if roi_node.GetInsideOut():
        raise InputError(f"The ROI {roi_node.GetName()} is inside out and cannot be a prompt: switch 'Inside out' off.")
    size = np.array(roi_node.GetSize())
    if not size.any():
        return None
    matrix = roi_node.GetObjectToNodeMatrix()
    own = np.array([matrix.MultiplyPoint((*corner, 1.0))[:3] for corner in (_UNIT_CORNERS * size).tolist()])
    return BoxPrompt(_positions(to_world_points(roi_node, own)))


def _plane_box(plane_node: Any) -> BoxPrompt | None:
    if not plane_node.GetIsPlaneValid():
        return None
    corners = vtk.vtkPoints()
    plane_node.GetPlaneCornerPoints(corners)
    return BoxPrompt(_positions(to_world_points(plane_node, vtk_to_numpy(corners.GetData()).astype(np.float64))))
