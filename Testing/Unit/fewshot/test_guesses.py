from dataclasses import replace

import pytest
import torch

from SAMFinetuneLogic.fewshot.dense import fit_estimator, mean_of
from SAMFinetuneLogic.fewshot.guesses import cross_fitted_guesses, estimator_of
from SAMFinetuneLogic.fewshot.views import encode_views

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings(quick):
    return replace(quick, purpose="other_images", mirror="never", augmentations=4)


@pytest.fixture(scope="module")
def views(a_collection, a_model, settings):
    return encode_views(a_collection, a_model, settings)


def regression(views):
    return fit_estimator("classifier", [v.embedding.float() for v in views], [v.grids.coarse for v in views])


def test_for_other_images_slices_and_copies_speak_with_one_voice_each(views, settings):
    found = estimator_of(views, settings, CPU)
    rows = views[1][2].embedding.float().flatten(1).T
    plain, copies = regression([entry[0] for entry in views]), regression([v for entry in views for v in entry[1:]])
    expected = (plain.classifier.logits(rows) + copies.classifier.logits(rows)) / 2
    torch.testing.assert_close(found.classifier.logits(rows), expected, rtol=1e-3, atol=1e-3)


def test_without_copies_the_slices_speak_alone(views, settings):
    alone = estimator_of([entry[:1] for entry in views], settings, CPU)
    torch.testing.assert_close(alone.classifier.weight, regression([entry[0] for entry in views]).classifier.weight)


def test_a_guess_on_a_single_slice_has_not_seen_its_copy(views, settings):
    """Of five views, each is guessed by what was learned from every other one."""
    (guesses,) = cross_fitted_guesses(views[1:2], settings, CPU).views
    even = mean_of(regression([views[1][0]]), regression([views[1][2], views[1][4]]))
    torch.testing.assert_close(guesses[3], even.logits(views[1][3].embedding.float()), rtol=1e-3, atol=1e-3)
    odd = mean_of(regression([views[1][1]]), regression([views[1][3]]))
    torch.testing.assert_close(guesses[0], odd.logits(views[1][0].embedding.float()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("purpose", ["same_images", "other_images"])
def test_a_guess_has_not_seen_its_slice(views, settings, purpose):
    settings = replace(settings, purpose=purpose)
    guesses = cross_fitted_guesses(views, settings, CPU)
    assert [len(entry) for entry in guesses.views] == [5, 5, 5]
    others = estimator_of([views[0], views[2]], settings, CPU)
    for view, guess in zip(views[1], guesses.views[1], strict=True):
        torch.testing.assert_close(guess, others.logits(view.embedding))
    assert cross_fitted_guesses(views, replace(settings, dense="none"), CPU) is None
