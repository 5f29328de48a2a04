import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.metrics import hd95, surface_dice

SPACINGS = {2: (0.7, 1.9), 3: (3.27, 0.9766, 0.5)}


def two_blobs(dimensions, seed):
    """Two smooth random shapes that overlap in part."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    shape = (48, 40) if dimensions == 2 else (14, 24, 20)
    noise = [ndimage.gaussian_filter(rng.normal(size=shape), 3) for _ in range(2)]
    common = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    return tuple(common + 0.5 * field > 0 for field in noise)


def brute_force_surface(mask):
    """Boundary pixels by looking at each neighbour through a side, one at a time."""
    padded = np.pad(mask, 1)
    surface = np.zeros_like(mask)
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            neighbour = np.roll(padded, shift, axis)[(slice(1, -1),) * mask.ndim]
            surface |= mask & ~neighbour
    return np.argwhere(surface)


def brute_force_distances(a, b, spacing):
    points_a, points_b = brute_force_surface(a) * spacing, brute_force_surface(b) * spacing
    distances = np.linalg.norm(points_a[:, None] - points_b[None], axis=-1)
    return distances.min(axis=1), distances.min(axis=0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_monai(dimensions, seed):
    metrics, torch = pytest.importorskip("monai.metrics"), pytest.importorskip("torch")
    a, b = two_blobs(dimensions, seed)
    spacing = SPACINGS[dimensions]
    batch = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (a, b)]
    tolerance = 1.0

    expected_hd = metrics.compute_hausdorff_distance(*batch, include_background=True, percentile=95, spacing=spacing)
    expected_nsd = metrics.compute_surface_dice(*batch, [tolerance], include_background=True, spacing=spacing)

    assert hd95(a, b, spacing) == pytest.approx(float(expected_hd), rel=1e-5)
    assert surface_dice(a, b, tolerance, spacing) == pytest.approx(float(expected_nsd), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6).flatmap(
        lambda shape: st.tuples(
            arrays(bool, shape), arrays(bool, shape), st.tuples(*[st.floats(0.2, 8.0) for _ in shape])
        )
    ),
    st.floats(0.0, 5.0),
)
def test_equals_brute_force_over_all_pairs_of_boundary_pixels(masks, tolerance):
    a, b, spacing = masks
    if not a.any() or not b.any():
        return
    forward, backward = brute_force_distances(a, b, spacing)
    both = np.concatenate([forward, backward])
    if np.any(np.isclose(both, tolerance, rtol=1e-6) & (both != 0)):
        return

    assert hd95(a, b, spacing) == pytest.approx(max(np.percentile(forward, 95), np.percentile(backward, 95)))
    assert surface_dice(a, b, tolerance, spacing) == pytest.approx(np.mean(both <= tolerance))


def test_a_cube_shifted_along_a_thick_axis():
    a = np.zeros((8, 8, 8), dtype=bool)
    a[2:5, 2:5, 2:5] = True
    b = np.roll(a, 1, axis=0)

    assert hd95(a, b, (5.0, 1.0, 1.0)) == pytest.approx(5.0)
    assert hd95(a, b) == pytest.approx(1.0)
    assert surface_dice(a, b, 1.0) == 1.0
    assert surface_dice(a, b, 1.0, (5.0, 1.0, 1.0)) < 1.0


def test_a_distance_of_exactly_the_tolerance_is_within_it():
    a = np.zeros((1, 5, 5), dtype=bool)
    a[0, 2, 2] = True
    spacing = (1.0, 0.9766, 0.9766)

    assert surface_dice(a, np.roll(a, 1, axis=1), 0.9766, spacing) == 1.0


def test_empty_masks():
    empty, full = np.zeros((4, 4), dtype=bool), np.ones((4, 4), dtype=bool)

    assert hd95(empty, empty) == 0.0
    assert hd95(empty, full) == hd95(full, empty) == float("inf")
    assert surface_dice(empty, empty, 1.0) == 1.0
    assert surface_dice(full, empty, 1.0) == 0.0


def test_a_mask_that_fills_the_image_has_the_border_as_its_surface():
    full, hole = np.ones((5, 5), dtype=bool), np.ones((5, 5), dtype=bool)
    hole[0] = False

    assert 0 < surface_dice(full, hole, 0.5) < 1


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, 1.0, 1.0)])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    with pytest.raises(InputError, match="spacing"):
        hd95(np.ones((3, 3)), np.ones((3, 3)), spacing)
