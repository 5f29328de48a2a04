import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import WINDOW_NAMES, Window, choose_window

RNG = np.random.default_rng(0)


def volume(voxels, modality=None):
    return Volume(voxels, np.eye(4), modality)


def a_ct(padding=None, air=-1000.0, dtype=np.int16):
    """A body of fat and soft tissue with some bone, in air; outside of the circle of reconstruction perhaps padding."""
    voxels = np.full((10, 40, 40), air) + RNG.normal(0, 15, (10, 40, 40))
    voxels[:, 8:32, 8:32] = RNG.normal(-100, 20, (10, 24, 24))
    voxels[:, 11:29, 11:29] = RNG.normal(45, 20, (10, 18, 18))
    voxels[:, 18:21, 18:21] = RNG.normal(700, 200, (10, 3, 3))
    if padding is not None:
        voxels[:, :4, :4] = padding
    return voxels.astype(dtype)


def an_mr(background="noise", dtype=np.float32):
    voxels = np.abs(RNG.normal(0, 8, (10, 40, 40))) if background == "noise" else np.zeros((10, 40, 40))
    voxels[:, 10:30, 10:30] = RNG.uniform(200, 800, (10, 20, 20))
    return voxels.astype(dtype)


@pytest.mark.parametrize(
    ("name", "level", "width"),
    [("soft_tissue", 40, 400), ("lung", -600, 1500), ("bone", 400, 1800), ("brain", 40, 80), ("liver", 60, 160)],
)
def test_ct_presets(name, level, width):
    window = choose_window(volume(a_ct()), name)
    assert (window.level, window.width, window.name) == (level, width, name)


@pytest.mark.parametrize("text", ["40/400", " 40 / 400 ", "4e1/400.0"])
def test_level_and_width(text):
    assert choose_window(volume(a_ct()), text) == Window(-160, 240, "custom")
    assert choose_window(volume(a_ct()), "-600/1500") == Window(-1350, 150, "custom")


@pytest.mark.parametrize("text", ["soft", "", "40/", "/", "40/400/2", "a/b", "nan/400"])
def test_unknown_windows(text):
    with pytest.raises(InputError, match="window"):
        choose_window(volume(a_ct()), text)


@pytest.mark.parametrize("text", ["40/0", "40/-3", "40/nan"])
def test_widths_that_are_not_positive(text):
    with pytest.raises(InputError, match="above zero"):
        choose_window(volume(a_ct()), text)


def test_names_are_forgiving():
    assert choose_window(volume(a_ct()), " Soft-Tissue ").name == "soft_tissue"


@pytest.mark.parametrize(
    ("modality", "name"),
    [
        ("CT", "soft_tissue"),
        ("MR", "mr"),
        ("PT", "pet"),
        ("NM", "pet"),
        ("US", "ultrasound"),
        ("DX", "xray"),
        ("MG", "xray"),
    ],
)
def test_the_modality_decides(modality, name):
    assert choose_window(volume(a_ct(), modality)).name == name


@pytest.mark.parametrize("padding", [None, -1024, -2000, -2048, -3024])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.int32])
def test_air_gives_a_ct_away(padding, dtype):
    assert choose_window(volume(a_ct(padding, dtype=dtype))).name == "soft_tissue"


@pytest.mark.parametrize(
    "voxels",
    [
        an_mr(),
        an_mr("zeros"),
        an_mr() - 12.5,  # interpolation leaves slightly negative values
        an_mr("zeros", np.int16),
        RNG.integers(-4096, 4095, (10, 40, 40)).astype(np.int16),  # phase
        RNG.normal(0, 300, (10, 40, 40)),  # a difference of two images
        RNG.normal(0, 1, (10, 40, 40)),  # standardised
        RNG.random((10, 40, 40)),
        a_ct()[:, 12:28, 12:28],  # a crop inside the body: its own percentiles
        np.full((2, 3, 4), -1000, np.int16),
        np.full((2, 3, 4), 128, np.uint8),
    ],
)
def test_what_is_no_ct(voxels):
    name = choose_window(volume(voxels)).name
    assert name == ("soft_tissue" if (voxels == -1000).all() else "mr")


def test_8_bit_gray_levels_are_taken_as_they_are():
    voxels = RNG.integers(0, 256, (1, 30, 30), dtype=np.uint8)
    window = choose_window(volume(voxels))
    assert window.name == "as_is"
    np.testing.assert_array_equal(window.to_uint8(voxels[0]), voxels[0])
    assert choose_window(volume(voxels // 3)).name == "mr"  # does not use its range
    assert choose_window(volume(voxels, "US")) == Window(0, 255, "ultrasound")
    assert choose_window(volume(voxels, "CR")) == Window(0, 255, "xray")


def test_mr_percentiles_do_not_see_the_background():
    voxels = an_mr("zeros")
    window = choose_window(volume(voxels), "mr")
    tissue = voxels[voxels > 0]
    assert (window.lower, window.upper) == tuple(np.percentile(tissue.astype(float), [0.5, 99.5]))
    padded = np.zeros((10, 120, 120), np.float32)
    padded[:, :40, :40] = voxels
    assert choose_window(volume(padded), "mr") == window


def test_one_hot_voxel_does_not_darken_the_image():
    voxels = an_mr()
    hot = voxels.copy()
    hot[0, 0, 0] = 1e9
    assert choose_window(volume(hot), "mr").upper == pytest.approx(choose_window(volume(voxels), "mr").upper, rel=0.01)


def test_large_volumes_are_sampled_without_preferring_a_column():
    voxels = np.zeros((100, 100, 100), np.float32)
    voxels[:] = np.arange(100)  # each column has its own value
    window = choose_window(volume(voxels), "mr")
    assert window.lower == pytest.approx(0.0, abs=1)
    assert window.upper == pytest.approx(99.0, abs=1)


def test_pet_starts_at_zero():
    voxels = np.zeros((10, 30, 30), np.float32)
    voxels[:, 5:25, 5:25] = RNG.gamma(2, 1.0, (10, 20, 20))
    voxels[0, 0, 0] = -0.1
    window = choose_window(volume(voxels, "PT"))
    assert window.lower == 0
    assert window.upper == pytest.approx(np.percentile(voxels[voxels > 0].astype(float), 99.5))
    assert (
        choose_window(volume(np.zeros((2, 3, 4)), "PT")).lower < choose_window(volume(np.zeros((2, 3, 4)), "PT")).upper
    )


def test_ultrasound_and_xray_beyond_8_bits():
    voxels = RNG.integers(0, 4000, (1, 50, 50)).astype(np.uint16)
    window = choose_window(volume(voxels, "US"))
    assert (window.lower, window.upper) == (voxels.min(), voxels.max())
    window = choose_window(volume(voxels, "DX"))
    assert (window.lower, window.upper) == tuple(np.percentile(voxels, [0.5, 99.5]))
    assert choose_window(volume(voxels), "full") == Window(float(voxels.min()), float(voxels.max()), "full")


def test_colour_passes():
    voxels = RNG.integers(0, 256, (1, 4, 5, 3), dtype=np.uint8)
    for name in (*WINDOW_NAMES, "40/400"):
        window = choose_window(volume(voxels), name)
        np.testing.assert_array_equal(window.to_uint8(voxels[0]), voxels[0])
    assert Window(5, 6, "x").to_uint8(voxels[0]).tolist() == voxels[0].tolist()
    with pytest.raises(InputError):
        choose_window(volume(voxels), "nothing")


@pytest.mark.parametrize("name", WINDOW_NAMES)
@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros((2, 3, 4)),
        np.full((2, 3, 4), 1e30),
        np.full((2, 3, 4), -7, np.int16),
        np.full((2, 3, 4), np.nan),
        np.full((2, 3, 4), np.inf, np.float32),
        np.where(np.arange(24).reshape(2, 3, 4) % 5, np.nan, np.inf),
        np.array([[[np.nan, -np.inf, np.inf, 3.0]]]),
        np.array([[[np.nan, 1.0, 2.0, np.inf]]], np.float16),
        np.zeros((2, 3, 4), bool),
        np.array([[[0, 2**63]]], np.uint64),
        np.array([[[-3e38, 3e38]]], np.float32),
    ],
)
@pytest.mark.filterwarnings("error")
def test_awkward_images(name, voxels):
    window = choose_window(volume(voxels), name)
    pixels = window.to_uint8(voxels[0])
    assert pixels.dtype == np.uint8
    assert pixels.shape == voxels[0].shape
    assert (pixels[np.isnan(voxels[0].astype(float))] == 0).all()


def test_infinities_are_clipped_and_a_constant_is_gray():
    pixels = Window(0, 10, "x").to_uint8(np.array([[np.nan, -np.inf, np.inf, 5.0]]))
    assert pixels.tolist() == [[0, 0, 255, 128]]
    constant = np.full((2, 3, 4), 42.0)
    assert 100 < choose_window(volume(constant)).to_uint8(constant[0])[0, 0] < 155


@given(
    pixels=hnp.arrays(np.int16, (3, 4)),
    lower=st.integers(-2000, 2000),
    width=st.integers(1, 4000),
)
def test_to_uint8_is_exact_arithmetic(pixels, lower, width):
    result = Window(lower, lower + width, "x").to_uint8(pixels)
    for value, gray in zip(pixels.ravel().tolist(), result.ravel().tolist(), strict=True):
        exact = Fraction(min(max(value, lower), lower + width) - lower) * 255 / width
        assert abs(gray - exact) <= Fraction(1, 2) + Fraction(1, 10**9)


def test_the_source_is_left_alone():
    voxels = a_ct()
    before = voxels.copy()
    choose_window(volume(voxels)).to_uint8(voxels[0])
    np.testing.assert_array_equal(voxels, before)


def test_a_window_is_stored_and_comes_back():
    window = choose_window(volume(an_mr()))
    assert Window.from_dict(json.loads(json.dumps(window.to_dict()))) == window


@pytest.mark.parametrize(("lower", "upper"), [(1, 1), (2, 1), (np.nan, 1), (0, np.inf)])
def test_empty_windows(lower, upper):
    with pytest.raises(InputError, match="empty"):
        Window(lower, upper, "x")
