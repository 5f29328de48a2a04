import subprocess
import sys

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
