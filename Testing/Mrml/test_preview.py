"""The preview is seen, is not saved, and leaves nothing behind."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis  # noqa: E402
from SAMFinetuneLogic.mrml.preview import Preview  # noqa: E402
from SAMFinetuneLogic.mrml.segments import segment_ids, segment_mask  # noqa: E402
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402


@pytest.fixture
def a_preview(a_scene, a_volume_node):
    return Preview(a_scene, read_volume(a_volume_node).volume)


def shown(preview, volume_node):
    return segment_mask(preview.node, segment_ids(preview.node)[0], read_volume(volume_node).volume)


def test_it_shows_the_last_mask_only(a_preview, a_volume_node):
    for number, s in enumerate([SliceIndex("k", 2), SliceIndex("i", 9), SliceIndex("j", 0)]):
        volume = read_volume(a_volume_node).volume
        mask = np.random.default_rng(number).random(volume.slice_shape(s.axis)) < 0.5
        a_preview.show(s, mask, (0.1, 0.2, 0.3))
        expected = np.zeros(volume.shape, bool)
        np.moveaxis(expected, array_axis(s.axis), 0)[s.index] = mask
        np.testing.assert_array_equal(shown(a_preview, a_volume_node), expected)
    a_preview.show(SliceIndex("k", 2), np.zeros((8, 10)), (1, 0, 0))
    assert not shown(a_preview, a_volume_node).any()
    a_preview.show(SliceIndex("k", 2), np.ones((8, 10)), (1, 0, 0))
    a_preview.clear()
    assert not shown(a_preview, a_volume_node).any()


def test_views_are_told(a_preview):
    events = []
    a_preview.node.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, lambda *_: events.append(1))
    a_preview.show(SliceIndex("k", 2), np.ones((8, 10)), (1, 0, 0))
    told = len(events)
    assert told
    a_preview.clear()
    assert len(events) > told


def test_it_is_not_saved(a_scene, a_preview, reopened):
    a_preview.show(SliceIndex("k", 2), np.ones((8, 10)), (1, 0, 0))
    assert a_preview.node.GetHideFromEditors()
    scene = reopened(a_scene)
    assert scene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None
    assert scene.GetFirstNodeByClass("vtkMRMLSegmentationDisplayNode") is None
    assert scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is not None


def test_it_goes_away(a_scene, a_preview):
    a_preview.remove()
    assert a_scene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None
    assert a_scene.GetFirstNodeByClass("vtkMRMLSegmentationDisplayNode") is None
    a_preview.remove()  # also after the scene was closed
