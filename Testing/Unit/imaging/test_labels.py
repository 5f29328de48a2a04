import numpy as np
import pytest

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment, label_values, segment_color


def test_each_label_gets_a_segment_and_given_ones_are_kept():
    voxels = np.array([[[0, 2, 7]]], np.uint8)
    labels = LabelMap(voxels, np.eye(4), (Segment(7, "liver", (1, 0, 0)), Segment(9, "empty", (0, 1, 0))))
    assert [(s.value, s.name) for s in labels.segments] == [(2, "Segment_2"), (7, "liver"), (9, "empty")]
    assert labels.mask(7).tolist() == [[[False, False, True]]]
    assert not labels.mask(9).any()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 255], np.int64, np.uint8),
        ([0, 256], np.int16, np.uint16),
        ([0.0, 3.0], np.float32, np.uint8),
        ([False, True], bool, np.uint8),
        ([1, 65535], np.uint32, np.uint16),
        ([1, 300], np.dtype(">u2"), np.uint16),
    ],
)
def test_whole_numbers_of_any_type(values, dtype, expected):
    labels = LabelMap(np.array([[values]], dtype), np.eye(4))
    assert labels.voxels.dtype == expected
    assert labels.voxels.ravel().tolist() == [int(v) for v in values]


@pytest.mark.parametrize("values", [[-1, 1], [0, 65536], [0.5, 1.0], [np.nan, 1.0], [np.inf, 1.0], [1j, 0]])
def test_what_is_no_label(values):
    with pytest.raises(InputError, match="Labels must"):
        LabelMap(np.array([[values]]), np.eye(4))


def test_labels_are_read_only_and_not_copied():
    voxels = np.zeros((2, 3, 4), np.uint16)
    labels = LabelMap(voxels, np.eye(4))
    assert np.shares_memory(labels.voxels, voxels)
    with pytest.raises(ValueError, match="read-only"):
        labels.voxels[0] = 1


def test_bad_segments():
    with pytest.raises(InputError, match="same value"):
        LabelMap(np.zeros((1, 1, 1), np.uint8), np.eye(4), (Segment(1, "a", (0, 0, 0)), Segment(1, "b", (0, 0, 0))))
    with pytest.raises(InputError, match="between 1"):
        Segment(0, "background", (0, 0, 0))
    with pytest.raises(InputError, match="colour"):
        Segment(1, "a", (0, 0, 255))
    with pytest.raises(GeometryError, match="shape"):
        LabelMap(np.zeros((2, 2), np.uint8), np.eye(4))


def test_default_colours_differ_and_are_visible():
    colors = np.array([segment_color(n) for n in range(40)])
    assert colors.min() >= 0
    assert colors.max() <= 1
    assert len({tuple(color) for color in colors}) == 40
    assert (colors.max(axis=1) > 0.5).all()


def test_values_of_a_volume_that_is_counted_in_parts():
    voxels = np.zeros((3, 400, 500), dtype=np.uint16)
    voxels[0, 0, 0], voxels[1, 200, 3], voxels[2, -1, -1] = 7, 300, 65535
    assert label_values(voxels) == (7, 300, 65535)
    assert label_values(np.asfortranarray(voxels)) == (7, 300, 65535)
    assert label_values(np.zeros((2, 3, 4), dtype=np.uint8)) == ()
