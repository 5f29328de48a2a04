"""Real processes: detached, killed, cancelled, resumed, queued, and on a full disk."""

import os
import random
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image
from safetensors.torch import load_file

from SAMFinetuneLogic.errors import Cancelled, InputError, ModelError, SAMFinetuneError
from SAMFinetuneLogic.jobs.folder import LIVE, JobFolder
from SAMFinetuneLogic.jobs.launching import kill, launch
from SAMFinetuneLogic.jobs.locks import FileLock
from SAMFinetuneLogic.jobs.registry import device_lock_path
from SAMFinetuneLogic.jobs.watching import EventTail, follow
from SAMFinetuneLogic.jobs.working import run_job
from SAMFinetuneLogic.priority import BACKGROUND

PATIENCE = 300.0


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def steps_of(folder: JobFolder) -> list[int]:
    return [event["step"] for event in folder.events() if event["event"] == "step"]


def weights_of(folder: JobFolder):
    return load_file(folder.adapter / "adapter.safetensors")


def test_a_job_in_this_process(make_job):
    folder = make_job()
    heard = []
    run_job(folder, heard.append)

    status = folder.read_status()
    assert status.state == "done" and status.step == status.steps == 6 and status.seconds_left is None
    assert not any("another job" in event.get("message", "") for event in folder.events())
    assert status.verdict in ("accepted", "refused")
    assert status.pid == os.getpid()
    assert Image.open(folder.curves_file).size[0] > 300
    assert (folder.adapter / "adapter.json").is_file()
    assert not (folder.path / "checkpoint.pt").exists()
    assert [event["event"] for event in heard] == [
        event["event"] for event in folder.events() if event["event"] != "state"
    ]
    before = folder.events_file.stat().st_size
    run_job(folder)  # it is done: nothing happens
    assert folder.events_file.stat().st_size == before
    final = list(follow(folder))
    assert len(final) == 1 and final[0][0].state == "done"


def test_kill_at_random_moments_and_resume_to_the_same_weights(make_job):
    """Once while it trains and once more when it is about to end."""
    whole = make_job("whole", steps=12)
    run_job(whole)
    folder = make_job("killed", steps=12)
    launch(folder)
    assert folder.is_alive
    moment = random.randint(1, 9)
    wait_for(lambda: (steps_of(folder) or [0])[-1] >= moment or not folder.is_alive, "steps")
    kill(folder)
    wait_for(lambda: not folder.is_alive, "the process to end")
    assert folder.read_status().state == "killed"
    launch(folder)
    wait_for(lambda: folder.read_status().state == "judging" or not folder.is_alive, "the judging")
    time.sleep(random.random() * 0.2)
    kill(folder)
    wait_for(lambda: not folder.is_alive, "the process to end")
    assert folder.read_status().state in ("killed", "done")

    run_job(folder)

    assert folder.read_status().state == "done"
    first, second = weights_of(whole), weights_of(folder)
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first), f"killed at step {moment}"
    assert len(steps_of(folder)) >= 12


def test_two_launchers_at_once_and_cancel_and_resume(make_job):
    """The folder's name has spaces and letters from elsewhere."""
    folder = make_job("Größe 影像 job", steps=400)
    errors: list[Exception] = []

    def start() -> None:
        try:
            launch(folder)
        except InputError as error:  # the slower one may find the faster one's process
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) < 2
    wait_for(lambda: steps_of(folder), "the first step")
    with pytest.raises(InputError, match="works on"):
        launch(folder)
    with pytest.raises(InputError, match="works on"):
        run_job(folder)
    pid = folder.read_status().pid
    assert pid != os.getpid()
    assert folder.read_status().state in LIVE
    if sys.platform != "win32":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, own + BACKGROUND)

    folder.ask_to_cancel()

    last = list(follow(folder))[-1][0]
    assert last.state == "cancelled" and 0 < last.step < 400
    assert steps_of(folder) == sorted(set(steps_of(folder))), "two processes trained at once"
    wait_for(lambda: not folder.is_alive, "the process to end")
    # In this process, as `jobs resume` does it, until another step has been taken.
    folder.forget_cancel()
    tail = EventTail(folder)
    tail.read()
    seen: list[int] = []

    def one_more() -> bool:
        seen.extend(event["step"] for event in tail.read() if event["event"] == "step")
        return bool(seen)

    with pytest.raises(Cancelled):
        run_job(folder, cancelled=one_more)
    assert seen[0] == last.step - last.step % 3 + 1


def test_a_second_job_waits_for_the_first(make_job):
    folder = make_job()
    with FileLock(device_lock_path("cpu")) as busy:
        assert busy.acquire()
        worker = threading.Thread(target=run_job, args=(folder,))
        worker.start()
        wait_for(lambda: folder.is_alive and folder.read_status().state == "queued", "the queue")
        wait_for(lambda: "another job" in folder.read_status().message, "the reason")
        time.sleep(0.5)
        assert folder.read_status().state == "queued" and not steps_of(folder)
    worker.join()
    assert folder.read_status().state == "done"


def test_a_queued_job_can_be_cancelled(make_job):
    folder = make_job()
    folder.ask_to_cancel()
    with FileLock(device_lock_path("cpu")) as busy:
        assert busy.acquire()
        with pytest.raises(Cancelled):
            run_job(folder)
    assert folder.read_status().state == "cancelled"


def test_what_nobody_expected_stands_in_the_log(make_job):
    """Also where the job runs in the foreground, and its messages do not go into the log."""
    folder = make_job()

    def listener(event):
        if event["event"] == "step":
            raise ZeroDivisionError("nobody expected this")

    with pytest.raises(SAMFinetuneError, match=r"unexpected.*ZeroDivisionError.*log\.txt"):
        run_job(folder, listener)
    assert folder.read_status().state == "failed"
    assert str(folder.log_file) in folder.read_status().message
    assert "nobody expected this" in folder.log_file.read_text(encoding="utf-8")


def test_memory_that_runs_out(make_job):
    folder = make_job()

    def listener(event):
        if event["event"] == "step":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")  # as torch

    with pytest.raises(ModelError, match="Not enough memory"):
        run_job(folder, listener)
    assert "Not enough memory" in folder.read_status().message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
def test_a_disk_that_fills_up(make_job):
    """A limit on the size of files stands in for it: the checkpoint cannot be written."""
    folder = make_job()
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from SAMFinetuneLogic.jobs.process import main\n"
        "sys.exit(main(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code, str(folder.path)], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Cannot write" in done.stderr and "Traceback" not in done.stderr
    status = folder.read_status()
    assert status.state == "failed" and "checkpoint.pt" in status.message
    assert not list(folder.path.glob(".tmp-*"))
    run_job(folder)  # there is room again
    assert folder.read_status().state == "done"
