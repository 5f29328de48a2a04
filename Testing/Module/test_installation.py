"""Installing what is missing: which versions serve, what stays as it is, what pip says, and no process meanwhile."""

import os
import platform
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
from module_scene import ras_of, settle
from packaging.requirements import Requirement
from slicer_host.pytorch_extension import MissingTorch, put_package

from SAMFinetuneLogic.jobs.folder import Status

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = ["--index-url", "http://127.0.0.1:9/simple", "--retries", "1", "--timeout", "1"]


@pytest.fixture
def taken_away(tmp_path):
    """Takes PyTorch away, with what is left of it."""
    made = []

    def take(left="nothing"):
        made.append(MissingTorch(tmp_path / "missing", left))
        made[-1].accepts = True
        return made[-1]

    yield take
    for missing in made:
        missing.restore()


@pytest.fixture
def lacking(opened):
    """The module, opened where one package is missing."""
    slicer.packaging.missing.add("peft")
    opened.panel.show_missing()
    return opened


def shown(panel):
    """The sentence at the top, and whether an installation is offered."""
    ui = panel.ui
    return ("" if ui.installFrame.isHidden() else ui.installLabel.text), not ui.installButton.isHidden()


def kept(text):
    return dict(line.split("==") for line in text.splitlines())


def test_what_is_missing_is_offered_and_installed(lacking):
    panel = lacking.panel
    assert "peft" in shown(panel)[0] and shown(panel)[1]
    panel.ui.installButton.click()
    assert panel.messages.text == "" and shown(panel)[0] == ""
    assert [Requirement(entry).name for entry in slicer.packaging.installed[-1]] == ["peft"]


def test_what_slicer_brought_is_kept(lacking, tmp_path, monkeypatch):
    put_package(tmp_path / "odd", "scipy", "1.17.1-of-somebody")  # pip would refuse the whole file
    monkeypatch.syspath_prepend(str(tmp_path / "odd"))
    lacking.panel.ui.installButton.click()
    versions = kept(slicer.packaging.constraints)
    assert versions["numpy"] == np.__version__ and {"SimpleITK", "torch", "torchvision"} <= set(versions)
    assert "scipy" not in versions


@pytest.mark.parametrize(
    ("asked", "reason", "advice"),
    [
        (["--no-index", "samfinetune-is-nowhere>=7"], "requirement samfinetune-is-nowhere>=7", "Mend that"),
        (["--no-index", "numpy<2"], "Cannot install numpy<2", "Mend that"),  # against what is kept
        ([*NOWHERE, "samfinetune-is-nowhere"], "requirement samfinetune-is-nowhere", "Check the connection"),
    ],
)
def test_a_failure_is_told_in_the_words_of_pip(lacking, tmp_path, monkeypatch, asked, reason, advice):
    monkeypatch.setenv("PIP_LOG", str(tmp_path / "of the user.log"))
    slicer.packaging.asks_pip_for = asked
    lacking.panel.ui.installButton.click()
    text = lacking.panel.messages.text
    assert reason in text and advice in text and "\n" not in text, text
    assert shown(lacking.panel)[1] and lacking.panel.ui.installButton.isEnabled()
    assert os.environ["PIP_LOG"].endswith("of the user.log")


def test_an_older_torch_has_to_be_uninstalled(opened, tmp_path, monkeypatch):
    put_package(tmp_path / "old", "torch", "2.5.1+cpu")
    monkeypatch.syspath_prepend(str(tmp_path / "old"))
    opened.panel.show_missing()
    text, offered = shown(opened.panel)
    assert "torch 2.5.1+cpu" in text and "2.6 or newer" in text and "PyTorch Utils" in text and not offered
    opened.panel.install()  # by the console
    assert opened.panel.messages.text == text and not slicer.packaging.installed


def test_an_empty_folder_is_no_torch(taken_away, opened):
    torch = taken_away("folder")
    opened.panel.show_missing()
    assert shown(opened.panel) == ("Not installed yet, or not in a version that serves: torch, torchvision.", True)
    opened.panel.ui.installButton.click()
    assert torch.versions == (">=2.6", ">=0.21") and shown(opened.panel)[0] == ""


def test_the_model_does_not_start_with_an_empty_folder(taken_away, opened):
    taken_away("folder")
    opened.bench.inference.start()
    assert "PyTorch is not installed" in opened.bench.inference.status and not opened.clients


def test_a_torch_without_its_files_has_to_be_uninstalled(taken_away, opened):
    taken_away("metadata")
    opened.panel.show_missing()
    text, offered = shown(opened.panel)
    assert "Files of torch" in text and "PyTorch Utils" in text and not offered


def test_torch_comes_without_another_numpy(taken_away, opened):
    torch = taken_away()
    torch.asks_pip_for = ["--no-index", "numpy<2"]
    opened.panel.show_missing()
    opened.panel.ui.installButton.click()
    assert kept(torch.constraints)["numpy"] == np.__version__ and "torch" not in kept(torch.constraints)
    assert "Cannot install numpy<2" in opened.panel.messages.text and shown(opened.panel)[1]


def test_an_older_pytorch_extension(taken_away, opened):
    torch, asked = taken_away(), []
    whole = torch.installTorch

    def of_2023(askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
        asked.append(torchVersionRequirement)
        return whole(askConfirmation)

    torch.installTorch = of_2023
    opened.panel.ui.installButton.click()
    assert asked == [">=2.6"] and opened.panel.messages.text == ""


def test_no_torch_for_slicer_on_an_intel_mac(taken_away, opened, monkeypatch):
    torch = taken_away()
    monkeypatch.setattr(sys, "platform", "darwin")
    for machine, offers in (("x86_64", False), ("arm64", True)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        opened.panel.show_missing()
        text, offered = shown(opened.panel)
        assert offered is offers and ("arm64" in text) is not offers
        if not offers:
            opened.panel.install()
            assert torch.asked == 0 and opened.panel.messages.text == text


@pytest.mark.parametrize("succeeds", [True, False])
def test_no_process_runs_meanwhile_and_a_new_one_answers_afterwards(blocks, succeeds):
    bench, packaging, clients, seen = blocks.bench, slicer.packaging, blocks.clients, []
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    assert bench.prompter.candidates is not None and len(clients) == 1

    def during():
        bench.inference.start()  # as a scroll of the mouse wheel does
        bench.follow_view()
        seen.append(
            (clients[0].closed, len(clients), bench.inference.status, blocks.panel.ui.installButton.isEnabled())
        )

    packaging.missing.add("peft")
    packaging.during = during
    packaging.asks_pip_for = [] if succeeds else ["--no-index", "samfinetune-is-nowhere"]
    blocks.panel.install()
    assert seen == [(True, 1, "Packages are being installed: the model starts again afterwards.", False)]
    assert (blocks.panel.messages.text == "") is succeeds
    settle(blocks)
    assert len(clients) == 2 and not clients[1].closed and bench.prompter.candidates is not None


def test_nothing_is_installed_under_a_running_propagation(blocks):
    bench = blocks.bench
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    slicer.packaging.missing.add("peft")
    bench.propagation.start()
    assert bench.propagation.running
    blocks.panel.install()
    assert "wait for it, or cancel it" in blocks.panel.messages.text and not slicer.packaging.installed
    assert bench.propagation.running and not blocks.clients[0].closed
    settle(blocks)


def test_nor_under_work_of_the_collection_or_an_adaptation(lacking):
    bench, panel = lacking.bench, lacking.panel
    bench.collection.long.begin()
    panel.install()
    assert "wait for it, or cancel it" in panel.messages.text
    bench.collection.long.end()
    bench.learning.status = Status("running")
    panel.install()
    assert "wait for it, or cancel it" in panel.messages.text and not slicer.packaging.installed
    bench.learning.status = None
    panel.install()
    assert panel.messages.text == "" and slicer.packaging.installed


def test_the_lowest_versions_are_those_of_the_package(opened):
    from SAMFinetuneLib.dependencies import TORCH

    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {name + versions for name, versions in TORCH.items()} <= set(lines)
