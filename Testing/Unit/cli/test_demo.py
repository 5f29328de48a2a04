"""`samfinetune demo`, in this process and from an installed wheel."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.cli.demo import FILES
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID, builtin_path, find_entry

ROOT = Path(__file__).resolve().parents[3]
HAS_DEFAULT_MODEL = builtin_path(find_entry(DEFAULT_MODEL_ID)).is_file()


def dice(first, second) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def test_it_writes_its_files_and_tells_the_dice(run, a_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("demo", "--model", a_checkpoint, "--json", "--quiet")
    assert code == 0, err
    assert {path.name for path in tmp_path.iterdir()} == set(FILES.values())
    result = json.loads(out)
    assert [Path(path).name for path in result["files"]] == list(FILES.values())
    read = {what: sitk.ReadImage(FILES[what]) for what in ("image", "truth", "segmentation")}
    for what in ("truth", "segmentation"):
        assert read[what].GetSize() == read["image"].GetSize()
        assert np.allclose(read[what].GetDirection(), read["image"].GetDirection(), atol=1e-5)
        assert np.allclose(read[what].GetOrigin(), read["image"].GetOrigin(), atol=1e-3)
    # The Dice of a structure that was prompted on one slice, computed anew from the files.
    labels, truth = (sitk.GetArrayFromImage(read[what]) for what in ("segmentation", "truth"))
    slices = json.loads(Path(FILES["segmentation_sidecar"]).read_text())["provenance"]["slices"]
    clicked = result["segments"][0]
    areas = (truth == clicked["value"]).sum(axis=(1, 2))
    index = int(areas.argmax())
    assert index in slices and clicked["slices"] == 1
    expected = dice(labels[index] == clicked["value"], truth[index] == clicked["value"])
    assert clicked["dice"] == pytest.approx(expected, abs=1e-4)
    # A second run must not destroy the first.
    code, _, err = run("demo", "--model", a_checkpoint)
    assert code == 2 and "--overwrite" in err


def test_nothing_is_written_when_the_model_is_wrong(run, tmp_path):
    code, _, err = run("demo", "--model", "nonsense", "--folder", tmp_path)
    assert code == 2 and "nonsense" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not HAS_DEFAULT_MODEL, reason="the default model's weights are not in the package")
def test_the_default_model_segments_the_phantom(run, tmp_path):
    code, out, err = run("demo", "--folder", tmp_path, "--json", "--quiet")
    assert code == 0, err
    scores = {segment["name"]: segment["dice"] for segment in json.loads(out)["segments"]}
    assert np.mean(list(scores.values())) > 0.75, scores
    assert min(scores.values()) > 0.5, scores


@pytest.mark.slow
def test_an_installed_wheel_runs_the_demo_from_an_empty_folder(a_checkpoint, tmp_path):
    source, wheels, site, empty = (tmp_path / name for name in ("source", "wheels", "site", "empty"))
    # A copy: building leaves folders behind.
    shutil.copytree(ROOT / "SAMFinetuneLogic", source / "SAMFinetuneLogic")
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE.txt"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", wheels, source], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", site, wheel], check=True)
    shutil.rmtree(source)
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def python(*arguments: object) -> str:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=empty, env=environment, check=True, capture_output=True, text=True).stdout

    where = python("-c", "import SAMFinetuneLogic; print(SAMFinetuneLogic.__file__)")
    assert Path(where.strip()).is_relative_to(site)
    model = [] if HAS_DEFAULT_MODEL else ["--model", a_checkpoint]
    result = json.loads(python(site / "bin" / "samfinetune", "demo", "--json", *model))
    assert len(result["segments"]) >= 5
    assert {path.name for path in empty.iterdir()} == set(FILES.values())
