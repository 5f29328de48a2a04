"""Settings of the person at the computer."""

import sys

from SAMFinetuneLogic.folders import data_home


def test_an_earlier_versions_job_folder_in_the_settings_gives_way(opened, monkeypatch, tmp_path):
    """It lay in the folder for caches, and what only put the usual folder back wrote it into the settings."""
    monkeypatch.delenv("SAMFINETUNE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "cache"))
    preferences = opened.bench.preferences
    before = preferences.job_folder
    preferences._set("jobFolder", str(before))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert preferences.job_folder == tmp_path / "data" / "samfinetune" / "jobs"
    preferences.job_folder = preferences.job_folder
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    assert preferences.job_folder == tmp_path / "elsewhere" / "samfinetune" / "jobs"
    preferences.job_folder = tmp_path / "mine"
    assert preferences.job_folder == tmp_path / "mine"


def test_a_new_collection_goes_where_the_user_keeps_things(opened, monkeypatch, tmp_path):
    from SAMFinetuneLib.collection import _new_path

    monkeypatch.delenv("SAMFINETUNE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert _new_path().parent == data_home() / "collections"
