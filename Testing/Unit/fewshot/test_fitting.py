from dataclasses import replace

import numpy as np
import pytest
import torch

from SAMFinetuneLogic.errors import Cancelled, InputError, ModelError
from SAMFinetuneLogic.fewshot.application import apply_to_volume, plane_for, predict_slice
from SAMFinetuneLogic.fewshot.fitted import new_decoder
from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.views import encode_views
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor

WINDOW = Window(0.0, 200.0, "full")


@pytest.fixture(scope="module")
def a_fit(a_collection, a_model, quick):
    """By the tokens alone: they have the whole structure to learn."""
    return fit(a_collection, a_model, replace(quick, steps=30, dense="none"))


def test_the_loss_falls_and_the_record_tells(a_fit):
    record = a_fit.record
    assert record.steps == len(record.losses) == 30
    assert np.mean(record.losses[-8:]) < 0.97 * np.mean(record.losses[:8])
    assert record.held_out is None and not record.warm and len(record.slices) == 3
    assert not any(parameter.requires_grad for parameter in a_fit.decoder.parameters())


def test_equal_seeds_give_equal_decoders(a_collection, a_model, quick):
    first = fit(a_collection, a_model, quick)
    state_before = torch.random.get_rng_state()
    torch.rand(1)
    changed = torch.random.get_rng_state()
    again = fit(a_collection, a_model, quick)
    assert torch.equal(torch.random.get_rng_state(), changed)  # the caller's random numbers are untouched
    torch.random.set_rng_state(state_before)
    for name, tensor in again.decoder.state_dict().items():
        assert torch.equal(tensor, first.decoder.state_dict()[name]), name
    other = fit(a_collection, a_model, replace(quick, seed=1))
    assert other.record.losses != again.record.losses


def test_the_model_is_left_unchanged(a_collection, a_model, quick):
    before = {name: tensor.clone() for name, tensor in a_model.network.state_dict().items()}
    fit(a_collection, a_model, replace(quick, steps=2))
    for name, tensor in a_model.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("targets", ["mean", "slices", "components", "prototypes"])
@pytest.mark.parametrize("dense", ["none", "prototypes", "classifier"])
def test_every_reading_of_the_paper_runs(a_collection, a_compact_model, a_case, quick, targets, dense):
    collection = new_collection(*a_case, indices=[1, 3], model=a_compact_model, window=WINDOW)
    background = "sigmoid" if targets == "mean" else "softmax"
    settings = replace(quick, steps=2, targets=targets, dense=dense, background=background)
    fitted = fit(collection, a_compact_model, settings)
    volume, _ = a_case
    plane = plane_for(fitted, volume)
    shown = predict_slice(fitted, SlicePredictor(a_compact_model), plane, 2)
    assert shown.probabilities.shape == (3, 40, 48)
    assert shown.probabilities.min() >= 0 and shown.probabilities.max() <= 1
    if background == "softmax":
        np.testing.assert_allclose(shown.probabilities.sum(0), 1, atol=1e-5)
    else:
        np.testing.assert_allclose(shown.probabilities[0], 1 - shown.probabilities[1:].max(0), atol=1e-6)


def test_a_single_slice_is_enough(a_case, a_model, quick):
    collection = new_collection(*a_case, indices=[3], model=a_model, window=WINDOW)
    assert fit(collection, a_model, quick).record.steps == quick.steps


def test_a_held_out_slice_decides_when_there_are_enough(a_case, a_compact_model, quick):
    collection = new_collection(*a_case, indices=[1, 2, 3, 4, 5], model=a_compact_model, window=WINDOW)
    settings = replace(quick, steps=45, hold_out_from=5, patience=1, learning_rate=1e-30)
    record = fit(collection, a_compact_model, settings).record
    assert record.held_out == "case k=3" and "case k=3" not in record.slices
    assert len(record.slices) == 4
    # Nothing is learned at this rate: the first check is never surpassed, and patience runs out with the third.
    assert [step for step, _ in record.held_out_dice] == [0, 10, 20]
    assert record.steps == 20


def test_the_loss_decides_when_there_are_too_few_to_hold_one_out(a_case, a_compact_model, quick):
    collection = new_collection(*a_case, indices=[1, 2, 3, 4, 5], model=a_compact_model, window=WINDOW)
    settings = replace(quick, steps=200, patience=2, learning_rate=1e-30)
    record = fit(collection, a_compact_model, settings).record
    assert record.held_out is None and not record.held_out_dice and len(record.slices) == 5
    # At this rate the loss varies by chance alone: its mean over ten steps soon is above its lowest three times on end.
    means = np.reshape(record.losses, (-1, 10)).mean(axis=1)
    lowest = int(means.argmin())
    assert record.steps < 200 and lowest == len(means) - 4
    assert all(means[:n].argmin() >= n - 3 for n in range(1, len(means)))


def test_the_weights_of_the_best_check_are_kept(a_case, a_compact_model, quick):
    """Of an anchored decoder the first guess is good before training; at this rate training spoils it."""
    collection = new_collection(*a_case, indices=[1, 2, 3, 4, 5], model=a_compact_model, window=WINDOW)
    settings = replace(quick, steps=12, hold_out_from=5, learning_rate=100.0)
    fitted = fit(collection, a_compact_model, settings)
    checks = dict(fitted.record.held_out_dice)
    assert list(checks) == [0, 10, 12] and checks[0] > max(checks[10], checks[12])
    untrained = new_decoder(a_compact_model, 2, settings).state_dict()
    for name, tensor in fitted.decoder.state_dict().items():
        assert torch.equal(tensor, untrained[name]), name


def test_a_warm_start_takes_over_and_is_short(a_fit, a_collection, a_case, a_model, quick):
    settings = replace(quick, dense="none")
    warm = fit(a_collection, a_model, settings, start=a_fit)
    assert warm.record.warm and warm.record.steps == quick.warm_steps
    assert warm.record.losses[0] < a_fit.record.losses[0]
    fewer = fit(a_collection.without(a_collection.slices[:1]), a_model, settings, start=a_fit)
    assert len(fewer.record.slices) == 2


def test_a_warm_start_keeps_classes_by_value_and_adds_new_ones(a_case, a_compact_model, quick):
    volume, labels = a_case
    only_bar = LabelMap(np.where(labels.voxels == 4, 4, 0).astype(np.uint8), labels.ijk_to_ras, labels.segments[1:])
    first = fit(new_collection(volume, only_bar, [3], a_compact_model, window=WINDOW), a_compact_model, quick)
    both = new_collection(volume, labels, [3], a_compact_model, window=WINDOW)
    warm = fit(both, a_compact_model, replace(quick, warm_steps=1, learning_rate=1e-12), start=first)
    torch.testing.assert_close(warm.decoder.class_tokens[1], first.decoder.class_tokens[0])
    torch.testing.assert_close(warm.decoder.class_tokens[0], a_compact_model.network.mask_decoder.mask_tokens.weight[0])


def test_cancel_stops_between_steps(a_collection, a_model, quick):
    seen: list[int] = []
    with pytest.raises(Cancelled):
        fit(
            a_collection,
            a_model,
            quick,
            progress=lambda done, total: seen.append(done),
            cancelled=lambda: len(seen) > 8,
        )
    assert len(seen) == 9


def test_progress_ends_at_the_total(a_collection, a_model, quick):
    seen: list[tuple[int, int]] = []
    fit(a_collection, a_model, quick, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_with_a_cache_a_slice_more_encodes_only_its_own_copies(a_case, a_compact_model, monkeypatch):
    cache = EmbeddingCache()
    two = new_collection(*a_case, indices=[1, 3], model=a_compact_model, window=WINDOW)
    three = new_collection(*a_case, indices=[1, 3, 5], model=a_compact_model, window=WINDOW)
    settings = FitSettings(augmentations=2)
    encoded: list[int] = []
    original = type(a_compact_model).encode

    def counted(self, batch):
        encoded.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(type(a_compact_model), "encode", counted)
    first = encode_views(two, a_compact_model, settings, cache=cache)
    assert sum(encoded) == 4
    second = encode_views(three, a_compact_model, settings, cache=cache)
    assert sum(encoded) == 6
    assert torch.equal(first[1][2].embedding, second[1][2].embedding)


def test_what_cannot_be_fitted_is_refused(a_case, a_stock_model, a_compact_model, quick):
    volume, labels = a_case
    empty = LabelMap(np.zeros_like(labels.voxels), labels.ijk_to_ras, labels.segments)
    with pytest.raises(InputError, match="Nothing is labelled"):
        fit(new_collection(volume, empty, [3], a_stock_model, window=WINDOW), a_stock_model, quick)
    collection = new_collection(volume, labels, [3], a_stock_model, window=WINDOW)
    with pytest.raises(ModelError, match="was made with"):
        fit(collection, a_compact_model, quick)
    with pytest.raises(InputError, match="steps"):
        FitSettings(steps=0)


def test_it_learns_what_stands_out_and_finds_it_in_another_voxel_order(a_case, a_compact_model):
    volume, labels = a_case
    collection = new_collection(volume, labels, [1, 3, 5], a_compact_model, window=WINDOW)
    settings = FitSettings(steps=40, batch=4, augmentations=4, learning_rate=3e-3)
    fitted = fit(collection, a_compact_model, settings)
    result = apply_to_volume(fitted, volume, a_compact_model, window=WINDOW)
    unseen = [2, 4]
    for value in (1, 4):
        assert dice(result.labels.voxels[unseen] == value, labels.voxels[unseen] == value) > 0.6
    assert {(entry.value, entry.index) for entry in result.slices} == {(v, k) for v in (1, 4) for k in range(8)}
    assert all(0 <= entry.confidence <= 1 for entry in result.slices)
    # The same patient stored with other axes: the same answer, voxel by voxel.
    order = np.array([[0, 1.0, 0, 0], [0, 0, 1.0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])  # old (i, j, k) = new (j, k, i)
    moved = Volume(np.transpose(volume.voxels, (1, 2, 0)), volume.ijk_to_ras @ order, name="moved")
    twin = apply_to_volume(fitted, moved, a_compact_model, window=WINDOW)
    np.testing.assert_array_equal(np.transpose(twin.labels.voxels, (2, 0, 1)), result.labels.voxels)


def test_only_the_asked_slices_are_segmented(a_fit, a_case, a_model):
    seen: list[tuple[int, int]] = []
    result = apply_to_volume(
        a_fit, a_case[0], a_model, indices=[2], progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 1)]
    assert not result.labels.voxels[[0, 1, 3, 4, 5, 6, 7]].any()
    with pytest.raises(Cancelled):
        apply_to_volume(a_fit, a_case[0], a_model, cancelled=lambda: True)
