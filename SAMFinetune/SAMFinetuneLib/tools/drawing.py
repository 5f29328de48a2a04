"""Markups that show prompts: ours, never saved, not to be dragged."""

from collections.abc import Sequence
from typing import Any

import vtk

POSITIVE = (0.18, 0.80, 0.25)
NEGATIVE = (0.92, 0.22, 0.18)
NEUTRAL = (1.0, 0.85, 0.2)


def add_markup(scene: Any, class_name: str, name: str, color: tuple[float, float, float], hidden: bool = True) -> Any:
    """A markups node of the module: not saved (the session is), without labels; hidden from lists or not."""
    node = scene.CreateNodeByClass(class_name)
    node.UnRegister(None)
    node.SetName(name)
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(hidden)
    node = scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetColor(*color)
    display.SetSelectedColor(*color)
    display.SetActiveColor(*color)
    return node


def add_line(scene: Any, name: str, color: tuple[float, float, float], closed: bool) -> Any:
    """A locked line of straight pieces, for outlines and strokes."""
    kind = "vtkMRMLMarkupsClosedCurveNode" if closed else "vtkMRMLMarkupsCurveNode"
    node = add_markup(scene, kind, name, color)
    node.SetCurveTypeToLinear()
    node.SetLocked(True)
    display = node.GetDisplayNode()
    display.SetUseGlyphScale(False)
    display.SetGlyphSize(0.01)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(0.8)
    return node


def set_line(node: Any, points: Sequence[Sequence[float]]) -> None:
    """Put a line through RAS points."""
    positions = vtk.vtkPoints()
    for point in points:
        positions.InsertNextPoint(*point)
    node.SetControlPointPositionsWorld(positions)


def remove(node: Any) -> None:
    """Take a node with its display nodes out of its scene; nothing happens if it is gone already."""
    scene = node.GetScene() if node is not None else None
    if scene is not None:
        for number in reversed(range(node.GetNumberOfDisplayNodes())):
            if node.GetNthDisplayNode(number) is not None:
                scene.RemoveNode(node.GetNthDisplayNode(number))
        scene.RemoveNode(node)
