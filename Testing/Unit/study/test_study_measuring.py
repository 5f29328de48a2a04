"""One cell: every strategy on every kind of backbone, and the score against its definition."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from labelled_data import labelled_set
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.evaluation.unet import UNetSettings
from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.scoring import click_scores
from SAMFinetuneLogic.finetuning.strategy import Strategy, all_strategies
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import Preprocessing
from SAMFinetuneLogic.study.measuring import automatic_dice, measure_model, measure_unet
from SAMFinetuneLogic.study.memory import peak_bytes
from SAMFinetuneLogic.study.plan import StudySettings
from SAMFinetuneLogic.study.splitting import study_split

FEW = StudySettings(shots=3, steps=2, batch=2)


def tiny_vit() -> LoadedModel:
    """A stock decoder behind TinyViT at 64 pixels."""
    from SAMFinetuneLogic.models.tiny_vit import TinyViT

    network = small_stock_sam()
    torch.manual_seed(1)
    network.image_encoder = TinyViT(img_size=64, out_chans=32)
    network.eval()
    return loaded(network, backbone="vit_t_256")


def compact() -> LoadedModel:
    return loaded(
        small_compact_sam(), backbone="compact", preprocessing=Preprocessing("minmax", "longest_pad", 64, "centre")
    )


MAKERS = {"compact": compact, "vit_b": lambda: loaded(small_stock_sam()), "vit_t_256": tiny_vit}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def a_model(request) -> LoadedModel:
    return MAKERS[request.param]()


@pytest.mark.parametrize("strategy", all_strategies(), ids=lambda one: one.name)
def test_every_strategy_is_measured(a_model, strategy):
    data = labelled_set(turned=True)
    split = study_split(data, 3, 24)
    heard = []
    found = measure_model(a_model, strategy, data, split, FEW, 0, lambda done, total: heard.append((done, total)))
    assert 0 <= found.dice <= 1
    assert set(found.by_class) <= {"liver", "spleen"}
    assert found.dice == pytest.approx(np.mean(list(found.by_class.values())), abs=1e-4)
    assert found.parameters == adapt(a_model, strategy, "automatic", ("liver", "spleen")).trainable_count()
    assert (found.steps, found.train, found.test) == (2, 3, 2)
    assert heard == [(1, 2), (2, 2)]
    assert found.seconds > 0 and found.memory > 50 * 2**20 and found.gpu_memory is None


def test_the_seed_decides():
    data, strategy = labelled_set(), Strategy.of("vanilla")
    split, settings = study_split(data, 3, 24), replace(FEW, mode="prompts", steps=6)
    runs = [measure_model(compact(), strategy, data, split, settings, seed) for seed in (0, 0, 1)]
    assert runs[0].by_class == runs[1].by_class
    assert runs[0].by_class != runs[2].by_class


def test_one_click_is_scored_as_by_the_gate():
    data, model = labelled_set(), compact()
    split = study_split(data, 3, 24)
    found = measure_model(model, None, data, split, replace(FEW, mode="prompts"))
    scores = click_scores(model, data.subset(split.test))
    liver = np.mean([score.dice for score in scores if score.value == 1])
    assert found.by_class["liver"] == pytest.approx(liver, abs=1e-5)
    assert found.parameters == found.steps == 0
    trained = measure_model(model, Strategy.of("lora"), data, split, replace(FEW, mode="prompts"))
    assert trained.parameters > 0


def test_without_training_it_looks_at_examples():
    data = labelled_set(turned=True)
    found = measure_model(compact(), None, data, study_split(data, 3, 24), FEW)
    assert 0 <= found.dice <= 1 and found.parameters == 0


def test_dice_is_that_of_the_volume():
    data = labelled_set()
    rng = np.random.default_rng(0)
    answers = {entry.slice.index: rng.integers(0, 3, entry.labels.shape) for entry in data.slices}
    found = automatic_dice(lambda entry: answers[entry.slice.index], data)
    truth = np.stack([entry.labels for entry in data.slices])
    answer = np.stack([answers[entry.slice.index] for entry in data.slices])
    for value in (1, 2):
        assert found[value] == pytest.approx(dice(truth == value, answer == value))


def test_images_count_alike_and_where_the_class_is_not_it_does_not_count():
    data = labelled_set((2, 5))  # the spleen is on slice 5 alone
    data = replace(data, slices=(data.slices[0], replace(data.slices[1], group=1)), images=("a", "b"))
    half = {0: 1.0, 1: 0.0}

    def answer(entry):
        return entry.labels * (half[entry.group] == 1.0) + 2 * (entry.labels == 0) * (entry.group == 0)

    found = automatic_dice(answer, data)
    assert found == {1: pytest.approx(0.5), 2: 0.0}


def test_the_unet_is_measured():
    pytest.importorskip("monai.networks.nets")
    data = labelled_set()
    small = UNetSettings(size=32, channels=(4, 8, 16), residual_units=1, steps=5, batch=2)
    found = measure_unet(data, study_split(data, 3, 24), 1, "cpu", small)
    assert 0 <= found.dice <= 1 and found.steps == 5 and found.parameters > 100


def test_the_peak_grows_with_what_is_held():
    before = peak_bytes()
    held = np.ones(40 * 2**20, dtype=np.uint8)
    assert peak_bytes() >= before
    assert peak_bytes() > held.nbytes
