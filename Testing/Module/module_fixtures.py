"""The module on the test host: opened once a test, in a clean scene."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from module_scene import oblique_affine, open_blocks, straight_affine
from region_client import RegionClient
from slicer_host.application import start
from slicer_host.event_loop import run_for, run_until
from slicer_host.loading import close_module, load_module, open_module

ROOT = Path(__file__).resolve().parents[2]
WAIT = 120  # s; a busy machine needs long to import torch


@pytest.fixture(scope="session")
def host() -> Any:
    """The stand-in for the application."""
    app = start()
    app.layoutManager().window.show()
    run_for(0.05)
    return app


@pytest.fixture
def module_file(host: Any) -> Any:
    """The module, imported from its file."""
    return load_module(ROOT / "SAMFinetune" / "SAMFinetune.py")


@pytest.fixture
def clients(module_file: Any, monkeypatch: pytest.MonkeyPatch) -> list[RegionClient]:
    """The inference clients that the module made, all of them with the model that needs no weights."""
    import SAMFinetuneLib.worker_client

    made: list[RegionClient] = []

    def make() -> RegionClient:
        made.append(RegionClient())
        return made[-1]

    monkeypatch.setattr(SAMFinetuneLib.worker_client, "make_client", make)
    return made


@contextmanager
def module_opened(host: Any, module_file: Any, tmp_path: Path, monkeypatch: Any, capfd: Any) -> Iterator[Any]:
    """The module's widget, opened in a clean scene; its panel as ``panel``, its workbench as ``bench``.

    VTK and Qt print the errors of callbacks and go on: any traceback fails the test.
    """
    import slicer
    from slicer_host import settings

    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    settings.clear()
    slicer.packaging.reset()
    slicer.mrmlScene.Clear(0)
    widget = open_module(module_file)
    run_for(0.02)
    panel = widget.panel
    yield SimpleNamespace(widget=widget, panel=panel, bench=panel.bench, host=host)
    close_module(widget)
    slicer.mrmlScene.Clear(0)
    run_for(0.02)
    errors = capfd.readouterr().err
    assert "Traceback" not in errors, errors


@pytest.fixture
def opened(
    host: Any, module_file: Any, clients: list[RegionClient], tmp_path: Path, monkeypatch: Any, capfd: Any
) -> Any:
    """See :func:`module_opened`; the inference clients as ``clients``."""
    with module_opened(host, module_file, tmp_path, monkeypatch, capfd) as module:
        module.clients = clients
        yield module


@pytest.fixture
def opened_with_process(
    host: Any, module_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Iterator[Any]:
    """The same with the default model in its own process, on the CPU."""
    import SAMFinetuneLib.worker_client

    from SAMFinetuneLogic.worker.client import RemoteClient

    made: list[Any] = []
    monkeypatch.setattr(SAMFinetuneLib.worker_client, "make_client", lambda: made.append(RemoteClient()) or made[-1])
    with module_opened(host, module_file, tmp_path, monkeypatch, capfd) as module:
        module.clients = made
        module.bench.preferences.device = "cpu"
        yield module


@pytest.fixture
def blocks(opened: Any) -> Any:
    """The module with the straight volume open, its first segment selected, and slice k = 5 shown in red."""
    return open_blocks(opened, straight_affine())


@pytest.fixture
def oblique_blocks(opened: Any) -> Any:
    """The same with the oblique volume."""
    return open_blocks(opened, oblique_affine())


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models of the default architecture, made tiny, with other weights each."""
    from safetensors.torch import save_file
    from small_models import SMALL_COMPACT, small_compact_sam

    found = []
    for seed in (0, 1):
        state = {name: value.contiguous() for name, value in small_compact_sam(seed).state_dict().items()}
        found.append(tmp_path_factory.mktemp("models") / f"tiny{seed}.safetensors")
        save_file(state, found[-1], metadata={"samfinetune": json.dumps({"config": SMALL_COMPACT})})
    return found


@pytest.fixture(scope="session")
def process() -> Iterator[Any]:
    """One process for all tests with a tiny model: its start takes longest."""
    from SAMFinetuneLogic.worker.client import RemoteClient

    client = RemoteClient()
    yield client
    client.close()


@pytest.fixture
def bench(
    host: Any, module_file: Any, checkpoints: list[Path], process: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> Any:
    """The workbench with the blocks opened, in front of a real process with a tiny model (``model_file``).

    Its collection panel is ``panel``, the whole one ``module``. The tests say when slices are annotated.
    """
    import SAMFinetuneLib.worker_client
    import slicer
    from slicer_host import settings

    from SAMFinetuneLogic.worker.requests import ModelChoice

    monkeypatch.setattr(SAMFinetuneLib.worker_client, "make_client", lambda: process)
    monkeypatch.setattr(process, "close", lambda: None, raising=False)
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    settings.clear()
    slicer.mrmlScene.Clear(0)
    widget = open_module(module_file)
    bench = widget.panel.bench
    bench.model_file = checkpoints[0]

    def choice() -> ModelChoice:
        return ModelChoice(str(bench.model_file), device="cpu", adapter=bench.learning.adapter)

    monkeypatch.setattr(bench.inference, "_choice", choice)
    opened = SimpleNamespace(widget=widget, panel=widget.panel, bench=bench, host=host)
    open_blocks(opened, straight_affine(), WAIT)
    bench.panel = widget.panel.collection
    bench.review_panel, bench.module = widget.panel.review, widget.panel
    yield bench
    run_until(lambda: not process.busy, WAIT)  # it goes on to the next test
    close_module(widget)
    slicer.mrmlScene.Clear(0)
    run_for(0.02)
    errors = capfd.readouterr().err
    assert "Traceback" not in errors, errors
