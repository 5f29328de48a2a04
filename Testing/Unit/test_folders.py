"""Where each system's users look for what a program keeps."""

import sys
from pathlib import Path

import pytest

from SAMFinetuneLogic.folders import cache_home, data_home, homes


@pytest.fixture
def a_home(monkeypatch, tmp_path):
    """A user's folder, with no variables that name others."""
    for name in ("SAMFINETUNE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "data", "cache"),
    [
        ("linux", ".local/share/samfinetune", ".cache/samfinetune"),
        ("darwin", "Library/Application Support/SAMFinetune", "Library/Caches/SAMFinetune"),
        ("win32", "AppData/Local/SAMFinetune", "AppData/Local/SAMFinetune"),
    ],
)
def test_each_system_has_its_folders(monkeypatch, a_home, platform, data, cache):
    monkeypatch.setattr(sys, "platform", platform)
    assert (data_home(), cache_home()) == (a_home / data, a_home / cache)
    assert homes() == tuple(dict.fromkeys((a_home / data, a_home / cache)))


@pytest.mark.parametrize(
    ("platform", "variable", "place", "name"),
    [
        ("linux", "XDG_DATA_HOME", data_home, "samfinetune"),
        ("linux", "XDG_CACHE_HOME", cache_home, "samfinetune"),
        ("win32", "LOCALAPPDATA", data_home, "SAMFinetune"),
    ],
)
def test_the_systems_own_variables_count(monkeypatch, a_home, platform, variable, place, name):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(a_home / "elsewhere"))
    assert place() == a_home / "elsewhere" / name


def test_one_variable_moves_everything(monkeypatch, a_home):
    monkeypatch.setenv("SAMFINETUNE_HOME", str(a_home / "all"))
    assert homes() == (a_home / "all",)
