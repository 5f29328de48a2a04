"""Fine-tuning in processes of its own: detached, and stopped by Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from labelled_data import write_labelled_pair

from SAMFinetuneLogic.jobs.folder import JobFolder


@pytest.fixture
def arguments(a_checkpoint, tmp_path):
    """Without the number of steps."""
    pair = write_labelled_pair(tmp_path)
    quick = ("--batch", 1, "--precision", "fp32", "--slices", "2,5,8,11,13")
    return ("finetune", "--pair", *pair, "--job", tmp_path / "Auftrag Größe 影", "--model", a_checkpoint, *quick)


def test_detached_and_watched(run, arguments, tmp_path):
    folder = JobFolder(tmp_path / "Auftrag Größe 影")
    code, out, err = run(*arguments, "--steps", 2, "--detach")
    assert code == 0 and out.strip() == str(folder.path) and "jobs watch" in err
    code, out, err = run("jobs", "watch", folder.path)
    assert code == 0, err
    assert "held-out" in out and str(folder.adapter) in out
    assert folder.read_status().pid != os.getpid()
    assert folder.log_file.read_text(encoding="utf-8").count("not in the catalogue") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_leaves_a_job_that_can_be_resumed(run, arguments, tmp_path):
    folder = JobFolder(tmp_path / "Auftrag Größe 影")
    command = [sys.executable, "-m", "SAMFinetuneLogic.cli", *map(str, arguments), "--steps", "40"]
    # A test run started in the background ignores Ctrl-C and would hand that on to the command.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # Not text=True: GDCM, where a test before wrote DICOM with it, leaves this process without an encoding.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    finally:
        signal.signal(signal.SIGINT, before)
    while not any(event["event"] == "step" for event in folder.events()):
        assert process.poll() is None, "the process ended early"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    lines = err.strip().splitlines()
    assert lines[-1] == "samfinetune: Stopped." and "jobs resume" in lines[-2] and str(folder.path) in lines[-2]
    assert "Traceback" not in err
    status = folder.read_status()
    assert status.state == "cancelled" and 0 < status.step < 40
    code, out, err = run("jobs", "resume", folder.path)
    assert code == 0 and "held-out" in out, err
    assert folder.read_status().step == 40


def test_a_detached_job_outlives_who_started_it_and_is_stopped_twice(run, arguments, tmp_path):
    folder = JobFolder(tmp_path / "Auftrag Größe 影")
    command = [sys.executable, "-m", "SAMFinetuneLogic.cli", *map(str, arguments), "--steps", "4000", "--detach"]
    launcher = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert launcher.returncode == 0, launcher.stderr

    wait_for_a_step(folder, 1)  # and whoever started it is gone
    if sys.platform != "win32":
        pid = folder.read_status().pid
        assert os.getsid(pid) == pid, "a terminal that closes ends its own session alone"
    while not folder.read_status().steps:  # it is written every second or two
        time.sleep(0.05)
    _, out, _ = run("jobs", "list")
    assert f"/4000  {folder.path}" in out and "running" in out
    code, _, err = run("jobs", "resume", folder.path)
    assert code == 2 and "jobs watch" in err
    code, out, err = run("jobs", "cancel", folder.path)
    assert code == 0 and "after the current step" in out, err
    code, out, err = run("jobs", "watch", folder.path)
    assert code == 130 and "Stopped on request" in out, err
    while folder.is_alive:
        time.sleep(0.02)

    before = len(list(folder.events()))
    code, out, err = run("jobs", "resume", folder.path, "--detach")
    assert code == 0 and "in the background" in out, err
    wait_for_a_step(folder, 1, before)
    code, out, err = run("jobs", "cancel", "--now", folder.path, "--json")
    assert code == 0, err
    while folder.is_alive:
        time.sleep(0.02)
    code, out, _ = run("jobs", "list", "--json")
    (entry,) = [job for job in json.loads(out)["jobs"] if job["job"] == str(folder.path)]
    assert entry["state"] == "cancelled" and "resume it" in entry["message"]


def wait_for_a_step(folder, count, skipped=0):
    """``count`` steps after the first ``skipped`` events."""
    deadline = time.monotonic() + 300
    while sum(event["event"] == "step" for event in list(folder.events())[skipped:]) < count:
        assert time.monotonic() < deadline and folder.read_status().state != "failed"
        time.sleep(0.02)
