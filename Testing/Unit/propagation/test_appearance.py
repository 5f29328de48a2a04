import numpy as np
import pytest
from scipy.special import expit

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.appearance import AppearanceCandidate, fit_gray_values
from SAMFinetuneLogic.propagation.extent import extent_of
from SAMFinetuneLogic.propagation.interpolation import InterpolationCandidate

WINDOW = Window(0, 255, "as_is")


def test_the_classifier_solves_its_equations():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(800, 2))
    inside = features @ [2.0, -1.0] + rng.normal(size=800) > 0.3

    found = fit_gray_values(features, inside)

    # The gradient of the penalised likelihood vanishes, computed anew here.
    rows = np.c_[(features - features.mean(0)) / features.std(0), np.ones(800)]
    weights = np.array([*found.weights, found.bias])
    importance = 800 * np.where(inside, 0.5 / inside.sum(), 0.5 / (~inside).sum())
    gradient = rows.T @ (importance * (inside - expit(rows @ weights))) - 2.0 * weights
    assert np.abs(gradient).max() < 0.05
    assert ((found.log_odds(features) > 0) == inside).mean() > 0.8
    assert fit_gray_values(features, np.zeros(800, dtype=bool)) is None


@pytest.fixture
def a_growing_disc():
    """A disc that grows faster than its annotated slice tells, with and without contrast."""
    k, j, i = np.indices((9, 60, 60))
    truth = (j - 30) ** 2 + (i - 30) ** 2 <= (8 + 1.2 * k) ** 2
    noise = np.random.default_rng(2).normal(0, 8, truth.shape)
    return truth, noise


@pytest.mark.parametrize("contrast", [80, 0])
def test_gray_values_correct_the_outline_where_there_is_contrast(a_growing_disc, contrast):
    truth, noise = a_growing_disc
    volume = Volume(np.clip(100 + contrast * truth + noise, 0, 255).astype(np.uint8), np.eye(4))
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[2] = truth[2]
    annotations = Annotations.of(volume, LabelMap(drawn, np.eye(4)), "k")
    outline = InterpolationCandidate({1: extent_of(annotations, 1, 0, 8)})
    candidate = AppearanceCandidate(volume, WINDOW, outline)

    corrected = dice(candidate.fit(annotations).predict(1, 6).mask(), truth[6])
    plain = dice(outline.fit(annotations).predict(1, 6).mask(), truth[6])

    if contrast:
        assert corrected > plain + 0.08
    else:
        assert abs(corrected - plain) < 0.07


def test_colour_images(a_growing_disc):
    truth, _ = a_growing_disc
    voxels = np.zeros((*truth.shape, 3), dtype=np.uint8)
    voxels[truth] = (200, 40, 40)
    volume = Volume(voxels, np.eye(4))
    drawn = np.zeros(truth.shape, dtype=np.uint8)
    drawn[4] = truth[4]
    annotations = Annotations.of(volume, LabelMap(drawn, np.eye(4)), "k")
    outline = InterpolationCandidate({1: extent_of(annotations, 1, 0, 8)})

    found = AppearanceCandidate(volume, WINDOW, outline).fit(annotations).predict(1, 5).mask()

    assert dice(found, truth[5]) > 0.9
