"""The whole way with the default model, whose answers mean something: scores, verdicts, record."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from labelled_data import LIVER, WINDOW, labelled_set, labelled_volume

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.training_free import TrainingFreeModel
from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.gate import judge
from SAMFinetuneLogic.finetuning.predicting import load_adapted_model, open_adapter, predict_volume
from SAMFinetuneLogic.finetuning.run import finetune
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.scoring import automatic_scores, click_and_box_scores, click_scores
from SAMFinetuneLogic.finetuning.splitting import Split
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.metrics import dice, tight_box
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

PARTS = Split((0, 2, 4), (), (1, 3))


@pytest.fixture(scope="module")
def the_model():
    return load_model("samfinetune_default", "cpu")


def test_the_gate_refuses_a_worse_adapter(the_model):
    gate = labelled_set().subset(PARTS.gate)
    adapted = adapt(the_model, Strategy.of("lora", "decoder"), "prompts", ("liver", "spleen"))
    generator = torch.Generator().manual_seed(0)
    spoiled = {
        name: tensor + torch.randn(tensor.shape, generator=generator)
        for name, tensor in adapted.trainable_state().items()
    }
    before, boxed = click_and_box_scores(the_model, gate)
    assert before == click_scores(the_model, gate)
    predictor = SlicePredictor(the_model)
    for score in boxed:
        entry = gate.slices[score.slice]
        mask = entry.labels == score.value
        prompts = SlicePrompts(boxes=np.array([tight_box(mask)], dtype=np.float64))
        answer = predict_slice(predictor, predictor.embed(entry.image), prompts)
        assert abs(score.dice - dice(mask, answer.mask)) < 0.1  # half of the score is an inexact box's
    unspoiled = judge(before, click_scores(adapted.merged(), gate), (LIVER,), "one click")
    assert unspoiled.gain == pytest.approx(0, abs=1e-3) and unspoiled.verdict == "refused"

    adapted.load_trainable_state(spoiled)

    after, boxed_after = click_and_box_scores(adapted.merged(), gate)
    evidence = judge(before, after, (LIVER,), "one click", (boxed, boxed_after))
    assert evidence.verdict == "refused" and evidence.gain < -0.1
    assert evidence.box_change is not None and evidence.box_change < -0.1
    assert evidence.slices == 2


def test_an_adapter_and_its_record(the_model, tmp_path):
    settings = LoopSettings(steps=4, epoch_steps=2, batch=2, warmup=1, precision="fp32")
    events = []
    before = {name: tensor.clone() for name, tensor in the_model.network.state_dict().items()}
    result = finetune(
        the_model,
        labelled_set(),
        PARTS,
        Strategy.of("lora", "decoder"),
        settings,
        adapter_folder=tmp_path / "adapter",
        listener=events.append,
    )
    after = the_model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "the base stays untouched"
    assert [e["event"] for e in events if e["event"] != "notice"] == (
        ["start", "step", "step", "epoch", "step", "step", "epoch", "judging", "verdict"]
    )
    record = json.loads(json.dumps(result.record))
    assert record["slices"] == {
        "train": ["image0 k=2", "image0 k=8", "image0 k=13"],
        "validation": [],
        "gate": ["image0 k=5", "image0 k=11"],
    }
    assert record["scores"]["verdict"] == result.evidence.verdict
    assert record["scores"]["box_change"] == result.evidence.box_change is not None
    loaded = load_adapted_model(tmp_path / "adapter", device="cpu")
    mine = result.adapted.merged()
    for name, tensor in mine.network.mask_decoder.state_dict().items():
        assert torch.allclose(loaded.network.mask_decoder.state_dict()[name], tensor, atol=1e-6)
    assert loaded.encoder_key == the_model.encoder_key, "embeddings of the base stay valid"
    assert loaded.adapter is not None and loaded.adapter["verdict"] == result.evidence.verdict
    assert load_adapted_model(tmp_path, device="cpu").adapter == loaded.adapter  # by the folder above it


def test_importable_before_any_model_was_loaded():
    """Where torchvision lacks its compiled operators, peft's own imports fail unless they have been declared."""
    code = "import SAMFinetuneLogic.finetuning.predicting"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_prompts_both_are_scored_on_the_same_slices():
    data = labelled_set((2, 5))  # label 2 is on the second slice alone

    def truth(entry):
        return entry.labels

    def everywhere_spleen(entry):
        return np.full_like(entry.labels, 2)

    right, wrong = automatic_scores((truth, everywhere_spleen), data)

    assert (
        [(s.slice, s.value) for s in right] == [(s.slice, s.value) for s in wrong] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    )
    assert [s.dice for s in right] == [1, 1, 1, 1]
    assert [s.dice for s in wrong[:3]] == [0, 0, 0] and 0 < wrong[3].dice < 0.2
    assert wrong[0].hd95 == float("inf")
    assert [len(scores) for scores in automatic_scores((truth, truth), data)] == [3, 3]


def test_automatic_mode_learns_the_classes(the_model, tmp_path):
    settings = LoopSettings(steps=20, epoch_steps=10, batch=2, warmup=2, precision="fp32", views=4)
    data = labelled_set(turned=True)
    result = finetune(
        the_model, data, PARTS, Strategy.of("lora", "decoder"), settings, "automatic", tmp_path / "adapter"
    )
    assert result.evidence.slices == 2 and "few-shot without training" in result.evidence.task
    # The base's figures are those of the few-shot tool on the same slices, taken on its own way from the volume.
    volume, labels = labelled_volume()
    collection = new_collection(volume, labels, [2, 8, 13], the_model, "k", WINDOW)
    rival, predictor = TrainingFreeModel.of(collection, the_model), SlicePredictor(the_model)
    plane = Plane.of(volume, "k", WINDOW)
    found = {k: rival.predict(predictor.embed(plane.image(k))).labels for k in (5, 11)}
    liver = result.evidence.classes[0]
    expected = np.mean([dice(found[k] == 1, plane.turn(labels.mask(1)[k])) for k in (5, 11)])
    assert liver.slices == 2 and liver.base_dice == pytest.approx(expected, abs=0.02)
    assert liver.base_dice > 0.3

    adapted, info, model = open_adapter(tmp_path / "adapter", "samfinetune_default", "cpu")
    found = predict_volume(adapted, info, model, volume)
    assert found.axis == "k" and np.array_equal(found.labels.ijk_to_ras, volume.ijk_to_ras)
    assert dice(found.labels.mask(1), labels.mask(1)) > 0.7
    with pytest.raises(InputError, match="takes no prompts"):
        load_adapted_model(tmp_path, device="cpu")
