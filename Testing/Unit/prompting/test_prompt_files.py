"""Prompt files, those of the real Slicer included."""

import json

import numpy as np
import pytest

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.placement import box_voxels, flat_axis
from SAMFinetuneLogic.prompting.prompt_files import read_prompts, write_prompts
from SAMFinetuneLogic.prompting.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    SegmentPrompts,
)

SEGMENTS = [
    SegmentPrompts(
        Segment(3, "Leber, rechts", (0.1, 0.2, 0.3)),
        (
            PointPrompt((1.5, -2.0, 3.25)),
            PointPrompt((0.0, 0.0, 1e-3), positive=False),
            BoxPrompt(((0, 1, 2), (3, 4, 5))),
            ScribblePrompt(((0, 0, 0), (1, 2, 3))),
            ScribblePrompt(((7, 8, 9),), positive=False),
            MaskPrompt.from_mask(SliceIndex("j", 4), np.eye(5)),
        ),
    ),
    SegmentPrompts(Segment(1, "spleen", (1.0, 0.0, 0.5)), (BoxPrompt(((0, 0, 0), (0, 5, 5), (0, 9, 1))),)),
]


@pytest.fixture
def write(tmp_path):
    def write_content(content, name="prompts.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_content


def test_written_prompts_read_back_the_same(tmp_path):
    write_prompts(tmp_path / "prompts.json", SEGMENTS)
    assert read_prompts(tmp_path / "prompts.json") == SEGMENTS


def test_the_simple_form_by_hand(write):
    path = write(
        {
            "space": "LPS",
            "segments": [
                {"name": "a", "points": [[1, 2, 3]], "negative_points": [[4, 5, 6]]},
                {"boxes": [[0, 0, 0, 1, 1, 1]]},
            ],
        }
    )
    first, second = read_prompts(path)
    assert first.segment.value == 1 and first.segment.name == "a" and second.segment.value == 2
    assert first.prompts == (PointPrompt((-1, -2, 3)), PointPrompt((-4, -5, 6), positive=False))
    assert second.prompts == (BoxPrompt(((0, 0, 0), (-1, -1, 1))),)
    assert first.segment.color != second.segment.color


@pytest.mark.parametrize(
    "content, says",
    [
        ("{", "not valid JSON"),
        ("[" * 100000, "not valid JSON"),
        ("[]", "JSON object"),
        ({}, "list of segments"),
        ({"segments": []}, "list of segments"),
        ({"segments": [{}]}, "no prompts"),
        ({"segments": [{"point": [[1, 2, 3]]}]}, "Unknown entry 'point'"),
        ({"segments": [{"points": [1, 2, 3]}]}, "three finite numbers"),
        ({"segments": [{"points": [[1, 2, None]]}]}, "three finite numbers"),
        ({"segments": [{"boxes": [[1, 2, 3, 4]]}]}, "six numbers"),
        ({"segments": [{"points": [[1, 2, 3]], "value": 0}]}, "between 1"),
        ({"segments": [{"points": [[1, 2, 3]], "value": 1.5}]}, "whole number"),
        ({"segments": [{"points": [[1, 2, 3]], "color": "red"}]}, "colour"),
        ({"segments": [{"value": 1}, {"value": 1}]}, "same value"),
        ({"space": "xyz", "segments": [{}]}, "'ras' or 'lps'"),
        ({"markups": "none"}, "no list"),
        ({"markups": []}, "no prompts"),
        ({"markups": [{"type": "Angle"}]}, "cannot be a prompt"),
        ({"markups": [{"type": "ROI", "center": [0, 0, 0]}]}, "size of the ROI"),
        ({"markups": [{"type": "ROI", "insideOut": True}]}, "inside out"),
        ({"markups": [{"type": "Fiducial", "coordinateSystem": "IJK"}]}, "LPS or RAS"),
        ({"markups": [{"type": "Fiducial", "controlPoints": [{"position": [1, 2]}]}]}, "position must be 3"),
    ],
)
def test_bad_files_are_refused_with_a_sentence(write, content, says):
    with pytest.raises(InputError, match=says) as caught:
        read_prompts(write(content))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        read_prompts(tmp_path / "nowhere.json")


def test_markups_are_not_written(tmp_path):
    with pytest.raises(InputError, match="choose a name"):
        write_prompts(tmp_path / "a.mrk.json", SEGMENTS)


def test_nothing_is_overwritten_unasked(write):
    with pytest.raises(OutputError, match="exists"):
        write_prompts(write("{}"), SEGMENTS, overwrite=False)


@pytest.mark.parametrize(
    "label, description, positive",
    [
        ("F-1", "", True),
        ("F-1", "negative", False),
        ("Neg", "", False),
        ("-", "", False),
        ("neg-2", "", False),
        ("Negative 3", "", False),
        ("negligible rim", "", True),
        ("nega", "", True),
        ("-1", "", True),  # Slicer's label in a list without a name
        ("", None, True),
    ],
)
def test_negative_points_are_told_by_label_or_description(write, label, description, positive):
    point = {"label": label, "description": description, "position": [1, 2, 3]}
    path = write({"markups": [{"type": "Fiducial", "controlPoints": [point]}]}, "tumour.mrk.json")
    (segment,) = read_prompts(path)
    assert segment.prompts == (PointPrompt((-1, -2, 3), positive),)
    assert segment.segment.name == "tumour"


# Against files that the real Slicer code writes


@pytest.fixture
def store(tmp_path):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    if not hasattr(slicer, "vtkMRMLMarkupsFiducialNode"):
        pytest.skip("this slicer package has no markups")

    def write_node(node, storage):
        scene = slicer.vtkMRMLScene()
        scene.AddNode(node)
        storage_node = getattr(slicer, storage)()
        scene.AddNode(storage_node)
        path = tmp_path / "M.mrk.json"
        storage_node.SetFileName(str(path))
        assert storage_node.WriteData(node)
        return path

    return slicer, write_node


def test_fiducials_written_by_slicer(store):
    slicer, write_node = store
    node = slicer.vtkMRMLMarkupsFiducialNode()
    node.AddControlPoint([1.0, 2.0, 3.0], "F-1")
    node.AddControlPoint([-4.0, 5.5, 6.0], "F-2")
    node.SetNthControlPointDescription(1, "negative")
    node.AddControlPoint([0.0, 0.0, 0.0], "F-3")
    node.UnsetNthControlPointPosition(2)
    (segment,) = read_prompts(write_node(node, "vtkMRMLMarkupsJsonStorageNode"))
    assert segment.prompts == (PointPrompt((1, 2, 3)), PointPrompt((-4, 5.5, 6), positive=False))


def test_a_rotated_roi_written_by_slicer(store):
    slicer, write_node = store
    vtk = pytest.importorskip("vtk")
    node = slicer.vtkMRMLMarkupsROINode()
    node.SetSize([10, 20, 30.0])
    transform = vtk.vtkTransform()
    transform.Translate(5, 6, 7)
    transform.RotateZ(30)
    transform.RotateX(20)
    node.SetAndObserveObjectToNodeMatrix(transform.GetMatrix())
    expected = [0.0] * 6
    node.GetRASBounds(expected)
    (segment,) = read_prompts(write_node(node, "vtkMRMLMarkupsROIJsonStorageNode"))
    corners = np.array(segment.prompts[0].points)
    found = np.stack([corners.min(axis=0), corners.max(axis=0)], axis=1).reshape(-1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # In a volume along the ROI's own axes it is its size.
    affine = np.array([transform.GetMatrix().GetElement(r, c) for r in range(4) for c in range(4)]).reshape(4, 4)
    affine[:3, 3] -= affine[:3, :3] @ (19.5, 19.5, 19.5)
    first, last = box_voxels(Volume(np.zeros((40, 40, 40)), affine), segment.prompts[0])
    np.testing.assert_array_equal(last - first + 1, [10, 20, 30])


def test_a_plane_written_by_slicer_is_a_flat_box(store):
    slicer, write_node = store
    vtk = pytest.importorskip("vtk")
    node = slicer.vtkMRMLMarkupsPlaneNode()
    node.SetCenter([10, 12, 3.0])
    node.SetNormal([0, 0, 1.0])
    node.SetSize(12.0, 8.0)
    corners = vtk.vtkPoints()
    node.GetPlaneCornerPointsWorld(corners)
    expected = np.array([corners.GetPoint(n) for n in range(4)])
    (segment,) = read_prompts(write_node(node, "vtkMRMLMarkupsPlaneJsonStorageNode"))
    found = np.array(segment.prompts[0].points)
    np.testing.assert_allclose(found.min(axis=0), expected.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.max(axis=0), expected.max(axis=0), atol=1e-5)
    assert flat_axis(Volume(np.zeros((9, 30, 30)), np.eye(4)), segment.prompts[0]) == "k"


def test_a_curve_written_by_slicer_is_a_scribble(store):
    slicer, write_node = store
    node = slicer.vtkMRMLMarkupsCurveNode()
    for x in range(3):
        node.AddControlPoint([float(x), 1.0, 2.0])
    (segment,) = read_prompts(write_node(node, "vtkMRMLMarkupsJsonStorageNode"))
    assert segment.prompts == (ScribblePrompt(((0, 1, 2), (1, 1, 2), (2, 1, 2))),)
