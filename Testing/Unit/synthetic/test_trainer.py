"""The training of the default model: objective in closed form, learning, resuming, the released file."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from small_disk import files_of_at_most

from SAMFinetuneLogic.cli.main import main
from SAMFinetuneLogic.errors import InputError, ModelError, OutputError
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.synthetic.batches import make_batch
from SAMFinetuneLogic.synthetic.objective import mask_losses, outline_loss, overlaps
from SAMFinetuneLogic.synthetic.release import export_checkpoint
from SAMFinetuneLogic.synthetic.samples import random_pair
from SAMFinetuneLogic.synthetic.trainer import STATE_FILE, Trainer, TrainingSettings
from SAMFinetuneLogic.synthetic.training import LOG_STEPS, train

SETTINGS = TrainingSettings(size=32, pairs=2, targets=2, warmup_steps=1)


def a_batch(seed=0):
    rng = np.random.default_rng(seed)
    ones = torch.ones(1, 3, 1, 1)
    return make_batch(rng, [random_pair(rng, 32) for _ in range(2)], 2, 120 * ones, 60 * ones)


def test_mask_loss_in_closed_form():
    targets = torch.zeros(1, 4, 4, dtype=torch.bool)
    targets[0, :2] = True
    logits = torch.zeros(1, 1, 4, 4)
    expected_dice = 1 - (2 * 8 * 0.5 + 1) / (8 + 8 + 1)
    assert mask_losses(logits, targets).item() == pytest.approx(expected_dice + 2 * np.log(2))
    sure = torch.where(targets, 30.0, -30.0).unsqueeze(1)
    assert mask_losses(sure, targets).item() == pytest.approx(0, abs=1e-4)


def test_outline_loss_looks_at_two_pixels_on_either_side():
    targets = torch.zeros(1, 8, 8, dtype=torch.bool)
    targets[0, :4] = True
    logits = torch.where(targets, 30.0, -30.0)
    logits[0, [0, 1, 6, 7]] *= -1  # wrong, but far from the outline
    assert outline_loss(logits, targets).item() == pytest.approx(0, abs=1e-6)
    logits[0, 2] = 0.0
    assert outline_loss(logits, targets).item() == pytest.approx(np.log(2) / 4)
    assert outline_loss(logits, torch.ones_like(targets)).item() == 0


def test_overlaps_in_closed_form():
    targets = torch.zeros(1, 4, 4, dtype=torch.bool)
    targets[0, :2] = True
    predicted = torch.full((1, 1, 4, 4), -1.0)
    predicted[0, 0, 1:3] = 1.0
    iou, dice = overlaps(predicted, targets)
    assert iou.item() == pytest.approx(1 / 3) and dice.item() == pytest.approx(0.5)


def test_steps_on_one_batch_lower_its_loss(tmp_path):
    trainer = Trainer(tmp_path, SETTINGS)
    batch = a_batch()
    losses = [
        trainer.train_step(batch, torch.Generator().manual_seed(1), rate=1e-3 if n else 0.0)["loss"] for n in range(8)
    ]
    assert losses[-1] < losses[0]


def test_a_saved_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    unbroken = Trainer(tmp_path / "a", SETTINGS)
    unbroken.train_step(a_batch(1), torch.Generator().manual_seed(1), rate=1e-3)
    (tmp_path / "b").mkdir()
    unbroken.folder = tmp_path / "b"
    unbroken.save()
    resumed = Trainer(tmp_path / "b", SETTINGS)
    assert resumed.step == 1
    reports = [
        trainer.train_step(a_batch(2), torch.Generator().manual_seed(2), rate=1e-3) for trainer in (unbroken, resumed)
    ]
    assert reports[0] == reports[1]
    for one, other in zip(unbroken.weights, resumed.weights, strict=True):
        assert torch.equal(one, other)


def test_the_released_file_loads_as_a_model_with_its_record(tmp_path):
    trainer = Trainer(tmp_path, SETTINGS)
    trainer.train_step(a_batch(), torch.Generator().manual_seed(0), rate=1e-3)
    trainer.save()
    target = export_checkpoint(tmp_path / STATE_FILE, tmp_path / "model.safetensors")
    with safe_open(target, "pt") as stream:
        record = json.loads(stream.metadata()["samfinetune"])["training"]
    assert record["steps"] == 1 and record["settings"]["size"] == 32
    model = load_model(target, device="cpu")
    assert model.preprocessing.size == 32 and model.preprocessing.coordinates == "centre"
    for (name, parameter), average in zip(model.network.named_parameters(), trainer.average, strict=True):
        torch.testing.assert_close(parameter.float(), average, atol=1e-3, rtol=1e-3, msg=name)

    restarted = Trainer(tmp_path / "new", SETTINGS, start=target)
    for weight, average in zip(restarted.weights, trainer.average, strict=True):
        torch.testing.assert_close(weight, average, atol=1e-3, rtol=1e-3)
    restarted.save()
    again = export_checkpoint(tmp_path / "new" / STATE_FILE, tmp_path / "again.safetensors")
    with safe_open(again, "pt") as stream:
        later = json.loads(stream.metadata()["samfinetune"])["training"]
    assert later["steps"] == 0 and later["earlier"] == [record]
    assert Trainer(tmp_path / "new", SETTINGS).earlier == [record]


def test_a_full_disk_leaves_the_earlier_files(tmp_path):
    trainer, released = Trainer(tmp_path, SETTINGS), tmp_path / "model.safetensors"
    trainer.save()
    released.write_text("the earlier one")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with files_of_at_most(4096):
        with pytest.raises(OutputError, match=r"Cannot write .*model\.safetensors"):
            export_checkpoint(trainer.state_file, released)
        with pytest.raises(OutputError, match=f"Cannot write .*{STATE_FILE}"):
            trainer.save()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_bad_requests_are_named(tmp_path):
    with pytest.raises(InputError, match="no training state"):
        export_checkpoint(tmp_path / STATE_FILE, tmp_path / "model.safetensors")
    wrong = tmp_path / "wrong.pt"
    torch.save({"image_encoder.x": torch.zeros(1)}, wrong)
    with pytest.raises(ModelError, match="not a checkpoint of the default model"):
        Trainer(tmp_path, SETTINGS, start=wrong)


@pytest.mark.slow
def test_the_command_trains_resumes_and_exports(tmp_path):
    options = ["--size", "32", "--pairs", "1", "--targets", "1", "--threads", "1", "--minutes", "0.01", "--finish", "1"]
    # In a process of its own, as it gives other processes precedence for the rest of its life.
    command = [sys.executable, "-m", "SAMFinetuneLogic.cli", "pretrain", str(tmp_path), *options]
    subprocess.run(command, check=True)
    steps = torch.load(tmp_path / STATE_FILE, weights_only=True)["step"]
    assert steps >= 1
    target = tmp_path / "model.safetensors"
    resumed = subprocess.run([*command, "--export", str(target)], check=True, stdout=subprocess.PIPE, text=True)
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["step"] > steps
    assert f"At step {steps}" in resumed.stdout
    assert load_model(target, device="cpu").preprocessing.size == 32


def test_a_training_with_a_finer_input_learns_from_both(tmp_path):
    trainer = train(tmp_path, replace(SETTINGS, fine_size=48), minutes=0, finish_steps=LOG_STEPS)
    assert len(trainer.history) == 1 and {"loss", "fine_loss"} <= set(trainer.history[0])


def test_a_training_that_learns_nothing_is_stopped(tmp_path):
    trainer = Trainer(tmp_path, SETTINGS)
    trainer.weights[0].fill_(torch.inf)
    trainer.save()
    with pytest.raises(ModelError, match=r"not a number in the last 25 steps.*lower --rate"):
        train(tmp_path, SETTINGS, minutes=0, finish_steps=2 * LOG_STEPS)


@pytest.mark.parametrize("sizes", [(32, 50), (0, 0), (-16, 0), (32, -32)])
def test_an_input_size_that_does_not_fit_is_refused(tmp_path, sizes):
    with pytest.raises(InputError, match="multiple of 16"):
        Trainer(tmp_path, TrainingSettings(size=sizes[0], fine_size=sizes[1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pairs", "0"), "--pairs must be at least 1"),
        (("--targets", "0"), "--targets must be at least 1"),
        (("--producers", "0"), "--producers must be at least 1"),
        (("--minutes", "-1"), "--minutes must be a number from 0 on"),
        (("--minutes", "nan"), "--minutes must be a number from 0 on"),
        (("--rate", "0"), "--rate must be a number above 0"),
        (("--finish", "-1"), "--finish must not be negative"),
        (("--seed", "-1"), "--seed must not be negative"),
        (("--export", "."), "it is a folder"),
        (("--export", "released.safetensors"), "add --overwrite"),
        (("--export", "released.safetensors", "--start", "released.safetensors", "--overwrite"), "would be lost"),
    ],
)
def test_nothing_is_started_that_cannot_end_well(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "released.safetensors").write_text("what was there")

    assert main(["pretrain", "training", *options]) == 2

    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["released.safetensors"]
    assert (tmp_path / "released.safetensors").read_text() == "what was there"
