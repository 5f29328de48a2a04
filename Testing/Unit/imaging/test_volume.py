import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.axes import AXES, SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume

SHAPE = (4, 5, 6)
positions = st.lists(st.tuples(*[st.floats(-20, 20)] * 3), min_size=1, max_size=5).map(np.array)


def a_volume(affine: np.ndarray) -> Volume:
    return Volume(np.arange(np.prod(SHAPE)).reshape(SHAPE), affine)


@given(data=st.data(), points=positions, axis=st.sampled_from(AXES))
def test_point_to_slice_pixel_to_point(data, points, axis, draw_affine):
    volume = a_volume(draw_affine(data))
    ras = volume.to_ras(points)
    np.testing.assert_allclose(volume.to_ijk(ras), points, atol=1e-7)
    pixels = volume.ras_to_slice(ras, axis)
    np.testing.assert_allclose(pixels[:, 0], points[:, AXES.index(axis)], atol=1e-7)
    np.testing.assert_allclose(volume.slice_to_ras(pixels, axis), ras, atol=1e-7)


@given(data=st.data(), axis=st.sampled_from(AXES))
def test_a_slice_pixel_holds_the_voxel_at_its_place(data, axis, draw_affine):
    volume = a_volume(draw_affine(data))
    ijk = np.array([data.draw(st.integers(0, size - 1)) for size in SHAPE[::-1]])
    index, row, col = np.rint(volume.ras_to_slice(volume.to_ras(ijk[None]), axis)[0]).astype(int)
    pixels = volume.slice_pixels(SliceIndex(axis, index))
    assert pixels.shape == volume.slice_shape(axis)
    assert pixels[row, col] == volume.voxels[ijk[2], ijk[1], ijk[0]]


@given(data=st.data(), points=positions)
def test_against_simpleitk(data, points, draw_affine):
    affine = draw_affine(data)
    volume = a_volume(affine)
    image = sitk.Image(6, 5, 4, sitk.sitkUInt8)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    np.testing.assert_allclose(volume.spacing, image.GetSpacing(), rtol=1e-12)
    for point in points:
        expected = np.array(image.TransformContinuousIndexToPhysicalPoint(point.tolist())) * [-1, -1, 1]
        np.testing.assert_allclose(volume.to_ras(point[None])[0], expected, atol=1e-9)


def test_slice_spacing_is_the_distance_of_neighbouring_pixels(an_affine):
    volume = a_volume(an_affine)
    for axis in AXES:
        origin, down, right = volume.slice_to_ras(np.array([[1, 1, 1], [1, 2, 1], [1, 1, 2]]), axis)
        expected = np.linalg.norm(down - origin), np.linalg.norm(right - origin)
        np.testing.assert_allclose(volume.slice_spacing(axis), expected)


def test_slices_are_read_only_views_and_the_caller_keeps_a_writable_array():
    voxels = np.zeros((2, 3, 4), np.float32)
    volume = Volume(voxels, np.eye(4))
    pixels = volume.slice_pixels(SliceIndex("j", 0))
    assert np.shares_memory(pixels, voxels)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        volume.ijk_to_ras[0, 0] = 2
    voxels[0, 0, 0] = 1  # the source array itself is left as it was


def test_the_matrix_is_copied():
    affine = np.eye(4)
    volume = Volume(np.zeros((1, 1, 1)), affine)
    affine[0, 0] = 5
    assert volume.ijk_to_ras[0, 0] == 1


def test_colour():
    volume = Volume(np.zeros((2, 4, 5, 3), np.uint8), np.eye(4))
    assert volume.is_color
    assert volume.shape == (2, 4, 5)
    assert [volume.slice_pixels(SliceIndex(axis, 1)).shape for axis in AXES] == [(2, 4, 3), (2, 5, 3), (4, 5, 3)]


@pytest.mark.parametrize(("axis", "index"), [("k", 4), ("j", 5), ("i", 6), ("k", -1)])
def test_a_slice_outside_of_the_volume(axis, index):
    with pytest.raises(GeometryError, match="outside"):
        a_volume(np.eye(4)).slice_pixels(SliceIndex(axis, index))


@pytest.mark.parametrize(
    ("voxels", "affine", "message"),
    [
        (np.zeros((3, 4)), np.eye(4), "shape"),
        (np.zeros((2, 3, 4, 3)), np.eye(4), "8-bit"),
        (np.zeros((2, 3, 4, 2), np.uint8), np.eye(4), "component"),
        (np.zeros((0, 3, 4)), np.eye(4), "no voxels"),
        (np.zeros((2, 3, 4), complex), np.eye(4), "real numbers"),
        (np.zeros((2, 3, 4)), np.eye(3), "4 x 4"),
        (np.zeros((2, 3, 4)), np.diag([1, 1, 0, 1]), "inverted"),
        (np.zeros((2, 3, 4)), np.diag([1, np.nan, 1, 1]), "finite"),
        (np.zeros((2, 3, 4)), np.diag([1, 1, 1, 2]), "last row"),
        (np.zeros((2, 3, 4)), np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "inverted"),
    ],
)
def test_what_is_no_volume(voxels, affine, message):
    with pytest.raises(GeometryError, match=message):
        Volume(voxels, affine)


def test_tiny_voxels_are_fine():
    volume = Volume(np.zeros((1, 1, 1)), np.diag([1e-4, 1e-4, 1e-4, 1.0]))
    np.testing.assert_allclose(volume.to_ijk(volume.to_ras(np.array([[1.0, 2.0, 3.0]]))), [[1, 2, 3]])


def test_points_need_three_coordinates():
    with pytest.raises(GeometryError, match="three coordinates"):
        a_volume(np.eye(4)).to_ras(np.zeros((2, 2)))
