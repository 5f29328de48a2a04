import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.resampling import resample_label_map, same_grid
from SAMFinetuneLogic.imaging.volume import Volume


def some_labels(shape, affine, seed=0):
    return LabelMap(np.random.default_rng(seed).integers(0, 4, shape, dtype=np.uint8), affine)


def brute_force(labels, reference):
    """For each voxel of the reference: the voxel of the labels whose centre is nearest in index space."""
    result = np.zeros(reference.shape, np.uint8)
    for k, j, i in np.ndindex(*reference.shape):
        world = reference.ijk_to_ras @ [i, j, k, 1]
        x, y, z = np.linalg.solve(labels.ijk_to_ras, world)[:3]
        at = tuple(int(np.floor(v + 0.5 + 1e-6)) for v in (z, y, x))
        if all(0 <= a < size for a, size in zip(at, labels.shape, strict=True)):
            result[k, j, i] = labels.voxels[at]
    return result


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_against_brute_force(data, draw_affine):
    labels = some_labels((4, 5, 6), draw_affine(data, largest_offset=5.0))
    reference = Volume(np.zeros((5, 3, 4)), draw_affine(data, largest_offset=5.0))
    expected = brute_force(labels, reference)
    try:
        result = resample_label_map(labels, reference)
    except GeometryError:
        assert not expected.any()
    else:
        np.testing.assert_array_equal(result.voxels, expected)
        np.testing.assert_array_equal(result.ijk_to_ras, reference.ijk_to_ras)


@given(data=st.data())
def test_reordering_the_storage_changes_nothing_in_space(data, draw_affine):
    """The same labels stored with flipped and permuted axes come back exactly: the trap of equal shapes."""
    labels = some_labels((4, 4, 4), draw_affine(data))
    order = data.draw(st.permutations(range(3)), label="numpy axes")
    flips = data.draw(st.lists(st.integers(0, 2), unique=True), label="flipped numpy axes")
    stored = np.flip(labels.voxels.transpose(order), flips)
    # Index of the old array from an index of the new one, in i, j, k order.
    old_from_new = np.zeros((4, 4))
    old_from_new[3, 3] = 1
    for new_axis, old_axis in enumerate(order):
        old_from_new[2 - old_axis, 2 - new_axis] = -1 if new_axis in flips else 1
        old_from_new[2 - old_axis, 3] = 3 if new_axis in flips else 0
    there = LabelMap(stored, labels.ijk_to_ras @ old_from_new)
    np.testing.assert_array_equal(resample_label_map(there, labels).voxels, labels.voxels)


def test_same_grid_is_an_exact_copy_even_when_headers_are_rounded(an_affine):
    labels = some_labels((3, 4, 5), an_affine)
    rounded = np.float32(an_affine).astype(float)
    reference = Volume(np.zeros((3, 4, 5)), rounded)
    assert same_grid(labels, reference)
    result = resample_label_map(labels, reference)
    np.testing.assert_array_equal(result.voxels, labels.voxels)
    np.testing.assert_array_equal(result.ijk_to_ras, rounded)


def test_different_grids(an_affine):
    a = Volume(np.zeros((3, 4, 5)), an_affine)
    moved = an_affine.copy()
    moved[:3, 3] += an_affine[:3, 0] * 0.02
    assert not same_grid(a, Volume(np.zeros((3, 4, 5)), moved))
    assert same_grid(a, Volume(np.zeros((3, 4, 5)), moved), tolerance=0.03)
    assert not same_grid(a, Volume(np.zeros((3, 5, 4)), an_affine))
    flipped = an_affine.copy()
    flipped[:3, 1] *= -1
    assert not same_grid(a, Volume(np.zeros((3, 4, 5)), flipped))


def test_segments_stay_and_ties_go_one_way():
    labels = LabelMap(
        np.array([[[1, 2, 3, 0]]]), np.eye(4), (Segment(1, "one", (1, 0, 0)), Segment(8, "none", (0, 0, 1)))
    )
    half = np.eye(4)
    half[0, 3] = 0.5
    result = resample_label_map(labels, Volume(np.zeros((1, 1, 3)), half))
    assert result.voxels.ravel().tolist() == [2, 3, 0]
    assert [(s.value, s.name) for s in result.segments][:1] == [(1, "one")]
    assert result.segments[-1].name == "none"


def test_grids_apart(an_affine):
    far = an_affine.copy()
    far[:3, 3] += 1000
    with pytest.raises(GeometryError, match="no place in common"):
        resample_label_map(some_labels((3, 4, 5), an_affine), Volume(np.zeros((3, 4, 5)), far))
