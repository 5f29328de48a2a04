from dataclasses import replace

import numpy as np
import pytest

from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.targets import case_targets
from SAMFinetuneLogic.evaluation.traits import conspicuous, traits_of
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window


@pytest.fixture
def a_target(a_manifest_file):
    return case_targets(read_manifest(a_manifest_file).cases[2])[0]


def target_of(target, mask, gray):
    volume = Volume(gray[None].astype(np.uint8), target.volume.ijk_to_ras)
    return replace(target, mask=mask, volume=volume, window=Window(0.0, 255.0, "full"))


def test_a_disc(a_target):
    rows, cols = np.mgrid[:200, :200]
    disc = (rows - 90) ** 2 + (cols - 100) ** 2 <= 40**2

    traits = traits_of(target_of(a_target, disc, np.where(disc, 150, 50)))

    assert traits["area"] == pytest.approx(100 * np.pi * 40**2 / 200**2, rel=0.01)
    assert traits["compactness"] == pytest.approx(1.0, abs=0.05)
    assert (traits["parts"], traits["side"]) == (1, 81)
    assert traits["contrast"] == pytest.approx(100)  # no spread on either side: in gray levels
    assert "input_side" not in traits
    assert conspicuous(traits) == "nothing in these numbers"


def test_contrast_is_in_standard_deviations_and_of_the_near_surroundings(a_target):
    rng = np.random.default_rng(0)
    mask = np.zeros((200, 200), dtype=bool)
    mask[60:140, 60:140] = True
    gray = 100 + 40 * mask + rng.normal(0, 10, mask.shape)
    gray[:20] = 255  # far away: no matter

    traits = traits_of(target_of(a_target, mask, gray.round().clip(0, 255)))

    assert traits["contrast"] == pytest.approx(40 / 11, rel=0.05)


def test_thin_and_scattered_structures_stand_out(a_target):
    mask = np.zeros((100, 100), dtype=bool)
    mask[10, 5:95] = mask[50, 5:95] = True

    traits = traits_of(target_of(a_target, mask, np.full(mask.shape, 80)))

    assert traits["parts"] == 2 and traits["compactness"] < 0.1 and traits["contrast"] == 0
    assert conspicuous(traits) == "hardly differs from its surroundings, in several parts, thin or winding"


def test_a_structure_without_surroundings(a_target):
    mask = np.ones((20, 30), dtype=bool)

    assert traits_of(target_of(a_target, mask, np.zeros(mask.shape)))["contrast"] == 0
