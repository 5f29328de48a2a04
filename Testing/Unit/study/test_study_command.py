"""`samfinetune study` in processes of its own: killed and gone on with, failures, and bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from SAMFinetuneLogic.cli.main import main
from SAMFinetuneLogic.jobs.locks import FileLock
from SAMFinetuneLogic.worker.process import child_environment

STRATEGIES = "lora-decoder,vanilla-decoder,lora-encoder-decoder"
LITTLE = ["--shots", "3", "--steps", "2", "--batch", "2", "--test-slices", "2", "--device", "cpu", "--no-baselines"]


def study(manifest: Path, out: Path, model: Path, *more: str) -> list[str]:
    return ["study", str(manifest), str(out), "--models", str(model), *LITTLE, *more]


def finished(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("cells/*.json")}


def test_killed_gone_on_with_and_a_cell_that_fails(a_study_manifest, a_study_model, tmp_path, capsys):
    out = tmp_path / "a study"
    arguments = study(a_study_manifest, out, a_study_model, "--cases", "one", "--strategies", STRATEGIES)
    log = tmp_path / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "SAMFinetuneLogic.cli", *arguments], env=child_environment(), stderr=stream
        )
        deadline = time.monotonic() + 50
        while not finished(out) and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.02)
        os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
    before = finished(out)
    assert 1 <= len(before) < 3
    assert main(arguments) == 0
    after = finished(out)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before  # taken over, not measured again
    captured = capsys.readouterr()
    assert "of 3 cells are finished already" in captured.err
    assert captured.out == (out / "study.md").read_text(encoding="utf-8")
    assert "in 0 of 1 data sets" in captured.out or "in 1 of 1 data sets" in captured.out
    assert not (out / "work").exists()  # no image slices stay behind
    assert len((out / "study.csv").read_text(encoding="utf-8").splitlines()) == 4
    assert (out / "study.png").stat().st_size > 1000

    # Other settings in the same folder are refused, and nothing is lost.
    assert main([*arguments, "--mode", "prompts"]) == 2
    assert "another mode" in capsys.readouterr().err
    assert finished(out) == after
    with FileLock(out / "study.lock") as lock:
        assert lock.acquire()
        assert main(arguments) == 2
        assert "Another study runs" in capsys.readouterr().err

    # Where one result should go there is a folder, another is gone: one fails, the other is measured.
    first, second = sorted(after)[:2]
    for name in (first, second):
        (out / "cells" / name).unlink()
    (out / "cells" / first).mkdir()
    assert main([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    assert "1 of 3 cells failed" in captured.err and "it is a folder" in captured.err
    assert json.loads(captured.out)["failed"][0]["cell"] == first
    assert (out / "cells" / second).is_file()
    report = (out / "study.md").read_text(encoding="utf-8")
    assert "2 of 3 cells" in report and "## Left out" in report


def test_a_study_of_unknown_settings_is_not_mixed_with_another(a_study_manifest, a_study_model, tmp_path, capsys):
    (tmp_path / "study.json").write_text("[", encoding="utf-8")
    assert main(study(a_study_manifest, tmp_path, a_study_model)) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--strategies", "lora-everything"], "There is no strategy"),
        (["--strategies", ","], "names none"),
        (["--strategies", "lora-decoder,lora-decoder-faithful"], "one preset"),
        (["--models", "no_such_model"], "neither a model nor a file"),
        (["--models", " "], "names none"),
        (["--cases", "three"], "no case 'three'"),
        (["--shots", "30"], "needed"),
        (["--shots", "0"], "whole number above zero"),
        (["--device", "tpu"], "not a device"),
    ],
)
def test_bad_input_is_one_sentence(a_study_manifest, a_study_model, tmp_path, capsys, more, words):
    assert main([*study(a_study_manifest, tmp_path / "out", a_study_model), *more]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("samfinetune: ") and words in message
    assert not (tmp_path / "out").exists()


def test_folders_of_others_are_left_alone(a_study_manifest, a_study_model, tmp_path, capsys):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    assert main(study(a_study_manifest, tmp_path, a_study_model)) == 2
    assert "holds other files" in capsys.readouterr().err
    assert main(study(a_study_manifest, tmp_path / "photo.jpg", a_study_model)) == 2
    assert "is a file" in capsys.readouterr().err
