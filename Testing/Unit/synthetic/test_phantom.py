"""The demo's phantom: reproducible, oblique, CT-like, and its truth fits what is seen."""

import numpy as np
import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.imaging.reading import read_image
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.imaging.writing import write_label_map
from SAMFinetuneLogic.synthetic import phantom as phantom_module
from SAMFinetuneLogic.synthetic.phantom import Phantom, make_phantom
from SAMFinetuneLogic.synthetic.phantom_anatomy import SEGMENT_NAMES, abdomen


@pytest.fixture(scope="module")
def a_phantom() -> Phantom:
    return make_phantom(seed=0)


def values_of(phantom: Phantom, name: str) -> np.ndarray:
    value = next(s.value for s in phantom.truth.segments if s.name == name)
    return phantom.volume.voxels[phantom.truth.mask(value)]


def test_the_same_seed_gives_the_same_voxels_and_another_seed_does_not():
    small = {"shape": (12, 48, 56), "spacing": (6.5, 6.0, 15.0)}
    first, again, other = (make_phantom(seed, **small) for seed in (3, 3, 4))
    assert np.array_equal(first.volume.voxels, again.volume.voxels)
    assert np.array_equal(first.truth.voxels, again.truth.voxels)
    assert (first.truth.voxels != other.truth.voxels).mean() > 0.005


def test_every_segment_is_there_and_of_a_plausible_size(a_phantom):
    voxel_ml = np.prod(a_phantom.volume.spacing) / 1000
    assert tuple(s.name for s in a_phantom.truth.segments) == SEGMENT_NAMES
    for segment in a_phantom.truth.segments:
        millilitres = a_phantom.truth.mask(segment.value).sum() * voxel_ml
        low, high = {"liver": (900, 2200), "spleen": (80, 400)}.get(segment.name, (30, 400))
        assert low < millilitres < high, segment.name


def test_values_are_those_of_a_contrast_ct(a_phantom):
    assert a_phantom.volume.voxels.dtype == np.int16
    assert np.median(values_of(a_phantom, "liver")) == pytest.approx(100, abs=20)
    assert np.median(values_of(a_phantom, "aorta")) > np.median(values_of(a_phantom, "liver")) + 20
    assert np.median(values_of(a_phantom, "vertebrae")) > 180
    assert a_phantom.volume.voxels.min() < -900
    # Noise as strong as in a clinical scan, inside one organ (vessels and cyst apart).
    liver = values_of(a_phantom, "liver")
    assert 8 < 1.4826 * np.median(np.abs(liver - np.median(liver))) < 30
    assert choose_window(a_phantom.volume).name == "soft_tissue"


def test_the_grid_is_oblique_and_anisotropic(a_phantom):
    affine = a_phantom.volume.ijk_to_ras[:3, :3]
    directions = np.abs(affine / np.linalg.norm(affine, axis=0))
    assert directions.max() < 0.995
    assert len({round(value, 3) for value in a_phantom.volume.spacing}) == 3


@pytest.mark.parametrize("name", ["liver", "spleen"])
def test_organs_lie_on_their_side(a_phantom, name):
    value = next(s.value for s in a_phantom.truth.segments if s.name == name)
    k, j, i = np.argwhere(a_phantom.truth.mask(value)).mean(axis=0)
    r, _, _ = a_phantom.volume.to_ras(np.array([[i, j, k]]))[0]
    assert r > 20 if name == "liver" else r < -50


def test_looking_only_near_a_tissue_changes_nothing(monkeypatch):
    """The shortcut over coarse cells against evaluating every tissue everywhere."""
    settings = {"shape": (20, 40, 48), "spacing": (7.6, 7.0, 9.0)}
    fast = make_phantom(1, **settings)
    monkeypatch.setattr(phantom_module, "_neighbourhood", lambda t, p, s: np.ones(p.shape[:3], dtype=bool))
    full = make_phantom(1, **settings)
    assert np.array_equal(fast.truth.voxels, full.truth.voxels)
    assert (fast.volume.voxels != full.volume.voxels).mean() < 1e-4


def test_tissues_are_painted_over_a_fine_grid_the_same_way(a_phantom):
    """The truth is each centre's last tissue: checked directly at random voxels."""
    tissues = abdomen(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    kji = np.stack([rng.integers(0, n, 4000) for n in a_phantom.truth.shape], axis=1)
    points = a_phantom.volume.to_ras(kji[:, ::-1].astype(float))
    expected = np.zeros(len(points), dtype=int)
    doubtful = np.zeros(len(points), dtype=bool)
    for tissue in tissues:
        distance = tissue.body(points)
        expected[distance < 0] = tissue.segment
        doubtful |= np.abs(distance) < 1e-3
    found = a_phantom.truth.voxels[tuple(kji.T)]
    assert np.array_equal(found[~doubtful], expected[~doubtful])


def test_truth_survives_a_file(a_phantom, tmp_path):
    path = tmp_path / "truth.nii.gz"
    write_label_map(path, a_phantom.truth)
    back = read_image(path)
    assert np.allclose(back.ijk_to_ras, a_phantom.truth.ijk_to_ras, atol=1e-4)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), a_phantom.truth.voxels)
