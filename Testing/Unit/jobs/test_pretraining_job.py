"""Self-supervised pre-training as a job: killed and resumed to the same base."""

import random
import time

import pytest
from labelled_data import WINDOW, labelled_volume
from safetensors.torch import load_file

from SAMFinetuneLogic.files import sha256_of
from SAMFinetuneLogic.finetuning.selfsupervised import PretrainSettings, unlabelled_slices
from SAMFinetuneLogic.jobs.creating import create_pretrain_job
from SAMFinetuneLogic.jobs.folder import JobFolder
from SAMFinetuneLogic.jobs.launching import kill, launch
from SAMFinetuneLogic.jobs.working import run_job


@pytest.fixture
def make_pretraining(a_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = unlabelled_slices(labelled_volume()[0], WINDOW)

    def make(name: str) -> JobFolder:
        settings = PretrainSettings(steps=40, epoch_steps=4, batch=2, warmup=2)
        return create_pretrain_job(tmp_path / name, data, str(a_checkpoint), sha256_of(a_checkpoint), settings, "cpu")

    return make


def steps_of(folder: JobFolder) -> list[int]:
    return [event["step"] for event in folder.events() if event["event"] == "step"]


def test_killed_and_resumed_to_the_same_base(make_pretraining):
    whole = make_pretraining("whole")
    run_job(whole)
    folder = make_pretraining("killed")
    launch(folder)
    moment, deadline = random.randint(5, 30), time.monotonic() + 300
    while (steps_of(folder) or [0])[-1] < moment and folder.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill(folder)
    while folder.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    state = folder.read_status().state
    run_job(folder)

    assert state in ("killed", "done") and folder.read_status().state == "done"
    if state == "killed":
        assert len(steps_of(folder)) < 40 + moment, "it began anew"
    first, second = load_file(whole.model_file), load_file(folder.model_file)
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first), f"killed at step {moment}"
    assert folder.curves_file.is_file() and not (folder.path / "checkpoint.pt").exists()
