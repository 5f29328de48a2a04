"""Jobs that take seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest
from labelled_data import labelled_set

from SAMFinetuneLogic.files import sha256_of
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.jobs.creating import FinetuneRequest, create_finetune_job
from SAMFinetuneLogic.jobs.folder import JobFolder

MakeJob = Callable[..., JobFolder]


@pytest.fixture
def make_job(a_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """Make a job in a folder below ``tmp_path``; its own cache folder keeps other tests' jobs out of the queue."""
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def make(name: str = "job", steps: int = 6, **changes) -> JobFolder:
        settings = LoopSettings(steps=steps, epoch_steps=3, batch=2, warmup=1, precision="fp32", **changes)
        strategy = Strategy.of("lora", "encoder_decoder", learning_rate=3e-3)
        request = FinetuneRequest(str(a_checkpoint), sha256_of(a_checkpoint), strategy, "prompts", settings, "cpu")
        return create_finetune_job(tmp_path / name, labelled_set(), request)

    return make
