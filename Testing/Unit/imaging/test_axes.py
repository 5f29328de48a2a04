import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis, resolve_axis


def test_array_axes_of_a_kji_array():
    array = np.zeros((2, 3, 4))  # k, j, i
    assert [array.shape[array_axis(axis)] for axis in ("i", "j", "k")] == [4, 3, 2]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (np.eye(3), {"sagittal": "i", "coronal": "j", "axial": "k"}),
        (np.diag([-1, -1, 1]), {"sagittal": "i", "coronal": "j", "axial": "k"}),
        # PIR storage: i runs to posterior, j to inferior, k to right.
        (np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), {"sagittal": "k", "coronal": "i", "axial": "j"}),
        # Anisotropic: the direction counts, not the length of the column.
        (np.array([[0.9, 0, 30.0], [0, 0.5, 0], [-0.4, 0, 80.0]]), {"sagittal": "i", "coronal": "j", "axial": "k"}),
    ],
)
def test_anatomical_names(columns, expected):
    affine = np.eye(4)
    affine[:3, :3] = columns
    assert {name: resolve_axis(name, affine) for name in expected} == expected
    assert [resolve_axis(name, affine) for name in ("i", "J", " k ")] == ["i", "j", "k"]
    assert resolve_axis("AXIAL", affine) == expected["axial"]


@given(data=st.data())
def test_three_names_give_three_axes_on_any_grid(data, draw_affine):
    affine = draw_affine(data)
    axes = [resolve_axis(name, affine) for name in ("sagittal", "coronal", "axial")]
    assert sorted(axes) == ["i", "j", "k"]
    # Unless the grid is far from any anatomical direction, the axis is simply the nearest one.
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    if (np.sort(cosines, axis=1)[:, -1] > 0.9).all():
        assert axes == ["ijk"[column] for column in cosines.argmax(axis=1)]


def test_unknown_names():
    with pytest.raises(InputError, match="axial"):
        resolve_axis("z", np.eye(4))
    with pytest.raises(GeometryError, match="'x'"):
        SliceIndex("x", 0)  # type: ignore[arg-type]
