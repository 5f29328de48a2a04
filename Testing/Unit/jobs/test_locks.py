import subprocess
import sys

import pytest

from SAMFinetuneLogic.jobs import locks
from SAMFinetuneLogic.jobs.locks import FileLock, is_locked


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "a folder" / "lock"
    first, second = FileLock(path), FileLock(path)
    assert not is_locked(path)
    assert first.acquire() and first.acquire()
    assert is_locked(path) and not second.acquire()
    first.release()
    assert not is_locked(path) and second.acquire()
    second.release()


def test_a_killed_process_holds_no_lock(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom SAMFinetuneLogic.jobs.locks import FileLock\n"
        "lock = FileLock(Path(sys.argv[1]))\nassert lock.acquire()\nprint('held', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    assert is_locked(path)
    process.kill()
    process.wait()
    process.stdout.close()
    assert not is_locked(path)


def test_those_who_look_keep_nobody_from_taking_it(tmp_path):
    """Watchers look several times a second; a job that starts at that moment must not take them for another job."""
    path = tmp_path / "lock"
    path.touch()
    code = (
        "import sys\nfrom pathlib import Path\nfrom SAMFinetuneLogic.jobs.locks import is_locked\n"
        "print('looking', flush=True)\nwhile True:\n    is_locked(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(path)]
    watchers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for watcher in watchers:
            assert watcher.stdout is not None and watcher.stdout.readline() == "looking\n"
        if sys.platform != "win32":  # which knows no shared locks
            assert not any(is_locked(path) for _ in range(500)), "one who looks took another one for a holder"
        for _ in range(500):
            with FileLock(path) as lock:
                assert lock.acquire()
        with FileLock(path) as lock:
            assert lock.acquire() and not FileLock(path).acquire(patience=0)
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.communicate()


@pytest.mark.parametrize(("others", "held"), [(2, False), (1000, True)])
def test_without_shared_locks_one_look_at_the_wrong_moment_is_not_enough(tmp_path, monkeypatch, others, held):
    """Windows knows none; here, another one looks at the same time as often as ``others`` says."""
    path, lock, left = tmp_path / "lock", locks._lock, [others]
    path.touch()

    def exclusive(stream, shared=False):
        if left[0]:
            left[0] -= 1
            raise PermissionError(13, "Permission denied")
        lock(stream)

    monkeypatch.setattr(locks, "_lock", exclusive)
    monkeypatch.setattr(locks, "_LOOKS", 3)
    assert is_locked(path) == held
