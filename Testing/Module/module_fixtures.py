"""The module on the test host: opened once a test, in a clean scene."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from module_scene import oblique_affine, open_blocks, straight_affine
from region_client import RegionClient
from slicer_host.application import start
from slicer_host.event_loop import run_for
from slicer_host.loading import close_module, load_module, open_module

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.fixture
def opened(
    host: Any, module_file: Any, clients: list[RegionClient], tmp_path: Path, monkeypatch: Any, capfd: Any
) -> Any:
    """The module's widget, opened; its panel as ``panel``, its workbench as ``bench``.

    VTK and Qt print the errors of callbacks and go on: any traceback fails the test.
    """
    import slicer
    from slicer_host import settings

    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    settings.clear()
    slicer.mrmlScene.Clear(0)
    widget = open_module(module_file)
    run_for(0.02)
    panel = widget.panel
    yield SimpleNamespace(widget=widget, panel=panel, bench=panel.bench, clients=clients, host=host)
    close_module(widget)
    slicer.mrmlScene.Clear(0)
    run_for(0.02)
    errors = capfd.readouterr().err
    assert "Traceback" not in errors, errors


@pytest.fixture
def blocks(opened: Any) -> Any:
    """The module with the straight volume open, its first segment selected, and slice k = 5 shown in red."""
    return open_blocks(opened, straight_affine())


@pytest.fixture
def oblique_blocks(opened: Any) -> Any:
    """The same with the oblique volume."""
    return open_blocks(opened, oblique_affine())
