"""Shared by all tests: few threads, no display, no access to the user's own cache, and skips that say why."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from main_thread_garbage import anywhere_again, only_here

# Before torch is imported anywhere: spinning threads of several processes slow each other many times over.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "Agg")


_WITH_QT_OR_VTK = {Path(__file__).parent / name for name in ("Module", "Mrml")}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Around each test with its fixtures: who searches for garbage. A hook of a folder's own would see all tests."""
    if _WITH_QT_OR_VTK.isdisjoint(item.path.parents):
        anywhere_again()
        return (yield)
    with only_here():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine or this run cannot do."""
    skips = {
        "network": None if os.environ.get("SAMFINETUNE_NETWORK") else "set SAMFINETUNE_NETWORK=1 to use the network",
        "gpu": None,
        "data": None if data_folder() else "SAMFINETUNE_DATA does not name a folder with manifest.json",
    }
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        skips["gpu"] = None if torch.cuda.is_available() else "no CUDA device"
    for item in items:
        for marker, reason in skips.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def data_folder() -> Path | None:
    """The folder of labelled cases that SAMFINETUNE_DATA names, if it has a manifest."""
    named = os.environ.get("SAMFINETUNE_DATA")
    return Path(named) if named and (Path(named) / "manifest.json").is_file() else None


@pytest.fixture(scope="session")
def a_data_folder() -> Path:
    """Of labelled cases, for tests marked ``data``."""
    folder = data_folder()
    assert folder is not None
    return folder


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's downloaded models and cached embeddings."""
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.delenv("SAMFINETUNE_MODELS", raising=False)


@pytest.fixture(scope="session")
def a_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the default model's architecture, made tiny."""
    from small_models import write_small_compact

    return write_small_compact(tmp_path_factory.mktemp("models") / "tiny.safetensors")
