"""No name of the scene in what is passed on."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.mrml.names import without_names  # noqa: E402

RELAXED = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_name_gives_way_to_the_kind_of_its_node(a_scene, add_volume_node):
    for name in ("DOE^JANE", "DOE^JANE thorax", "CT"):
        add_volume_node(a_scene, np.zeros((2, 3, 4), np.int16), np.eye(4)).SetName(name)
    a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "DOE^JANE thorax segmentation")
    text = "DOE^JANE thorax segmentation of 'DOE^JANE thorax': look at DOE^JANE, not at DOE^JANES, by CT."
    expected = "[Segmentation] of '[Volume]': look at [Volume], not at DOE^JANES, by CT."
    assert without_names(text, a_scene) == expected


@RELAXED
@given(names=st.lists(st.text(min_size=3, max_size=8), max_size=4), between=st.text(max_size=5))
def test_no_name_stays_whatever_it_is(names, between, new_scene):
    scene = new_scene()
    kept = []
    for name in names:
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
        kept.append(node.GetName())
    text = " ".join(("", *kept, ""))
    left = without_names(text, scene)
    for name in kept:
        if name and len(name) >= 3:
            assert f" {name} " not in left or name in " [Transform] "
    assert without_names(between, slicer.vtkMRMLScene()) == between
