"""Slices are turned as radiologists expect, whatever the order and sense of the voxel axes."""

from itertools import permutations, product

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.pictures.orientation import display_of, display_of_volume

# RAS direction that must grow to the right and downwards in the picture.
EXPECTED = {
    "axial": (np.array([-1, 0, 0]), np.array([0, -1, 0])),
    "coronal": (np.array([-1, 0, 0]), np.array([0, 0, -1])),
    "sagittal": (np.array([0, -1, 0]), np.array([0, 0, -1])),
}

AFFINES = []
for order, signs in product(permutations(range(3)), product((-1, 1), repeat=3)):
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[row, column] = sign * (1.0, 1.5, 4.0)[column]
    AFFINES.append(matrix)


@pytest.mark.parametrize("axis", ["i", "j", "k"])
@pytest.mark.parametrize("affine", AFFINES)
def test_directions_of_the_shown_array(affine, axis):
    shape = (5, 6, 7)
    volume = Volume(np.zeros(shape, dtype=np.uint8), affine)
    rows, cols = volume.slice_shape(axis)
    display = display_of(affine, axis)
    # An array whose pixels are their own positions shows where each one ends up.
    r, c = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    shown_rows, shown_cols = display.array(r), display.array(c)

    def ras(y, x):
        return volume.slice_to_ras(np.array([[0.0, shown_rows[y, x], shown_cols[y, x]]]), axis)[0]

    right, down = EXPECTED[display.plane]
    step_right, step_down = ras(0, 1) - ras(0, 0), ras(1, 0) - ras(0, 0)
    assert step_right @ right == pytest.approx(np.linalg.norm(step_right))
    assert step_down @ down == pytest.approx(np.linalg.norm(step_down))


@pytest.mark.parametrize("axis", ["i", "j", "k"])
@pytest.mark.parametrize("affine", AFFINES[::5])
def test_positions_follow_their_pixels(affine, axis):
    rng = np.random.default_rng(0)
    pixels = rng.permutation(5 * 8).reshape(5, 8)
    display = display_of(affine, axis)
    points = np.argwhere(pixels >= 0)
    moved = display.positions(points, pixels.shape).astype(int)
    shown = display.array(pixels)
    assert np.array_equal(shown[tuple(moved.T)], pixels[tuple(points.T)])
    assert display.pair(*pixels.shape) == shown.shape


def test_a_photograph_is_shown_as_it_is():
    """A PNG has LPS identity geometry: its first pixel belongs in the upper left corner."""
    display = display_of(np.diag([-1.0, -1.0, 1.0, 1.0]), "k")
    assert (display.transpose, display.flip_rows, display.flip_cols) == (False, False, False)
    assert display.letters == ("R", "L", "A", "P")


@pytest.mark.parametrize("name", ["film.png", "photo.JPG", "scan.tiff", "old.bmp"])
def test_a_picture_without_geometry_has_no_letters(name):
    pixels = np.zeros((1, 4, 5), dtype=np.uint8)
    known = Volume(pixels, np.diag([-1.0, -1.0, 1.0, 1.0]), name="film.nii.gz")
    unknown = Volume(pixels, np.diag([-1.0, -1.0, 1.0, 1.0]), name=name)

    assert display_of_volume(known, "k") == display_of(known.ijk_to_ras, "k")
    display = display_of_volume(unknown, "k")

    assert "".join(display.letters) == ""
    turned = (display.transpose, display.flip_rows, display.flip_cols)
    assert turned == (False, False, False)
