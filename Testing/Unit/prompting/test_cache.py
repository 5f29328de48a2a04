"""The embedding cache: bounds, threads, processes, and what a kill leaves behind."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SAMFinetuneLogic.prompting.cache import EmbeddingCache, EmbeddingKey
from SAMFinetuneLogic.prompting.cache_folder import CacheFolder


def key(number: int) -> EmbeddingKey:
    return EmbeddingKey(hashlib.sha256(str(number).encode()).hexdigest())


def embedding(number: int, length: int = 500) -> np.ndarray:
    return np.full((1, 2, length), number, dtype=np.float32)  # 2 KB for 500 in half precision


def test_half_precision_never_becomes_infinite():
    cache = EmbeddingCache()
    stored = cache.put(key(1), np.array([1e9, -1e9, 65504, 70000, 1.0003, 0], dtype=np.float32))
    assert stored.dtype == np.float16 and np.isfinite(stored).all()
    np.testing.assert_array_equal(stored[:4], [65504, -65504, 65504, 65504])
    np.testing.assert_allclose(stored[4], 1.0003, rtol=2**-11)
    assert not stored.flags.writeable


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_memory_is_bounded_and_the_least_recently_used_goes_first(steps):
    cache, order = EmbeddingCache(memory_bytes=4 * 2000), []
    for is_put, number in steps:
        if is_put:
            cache.put(key(number), embedding(number))
        elif (found := cache.get(key(number))) is not None:
            assert (found == number).all()
        hit = is_put or number in order
        if hit:
            order = [n for n in order if n != number] + [number]
        order = order[-4:]
        assert cache.bytes_used == 2000 * len(cache) <= 8000
        assert len(cache) == len(order)
    assert all((cache.get(key(n)) is not None) == (n in order) for n in range(10))


def test_what_does_not_fit_is_returned_but_not_kept():
    cache = EmbeddingCache(memory_bytes=100)
    assert (cache.get_or_compute(key(1), lambda: embedding(1)) == 1).all()
    assert len(cache) == 0


def test_threads_that_ask_for_the_same_key_compute_it_once():
    cache, calls, results = EmbeddingCache(), [], []

    def compute():
        calls.append(threading.get_ident())
        time.sleep(0.1)
        return embedding(7)

    threads = [threading.Thread(target=lambda: results.append(cache.get_or_compute(key(7), compute))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len(results) == 8 and all((result == 7).all() for result in results)


def test_after_an_error_the_next_thread_tries_again():
    cache, started, results = EmbeddingCache(), threading.Event(), []

    def fail():
        started.set()
        time.sleep(0.1)
        raise ValueError("no")

    def first():
        with pytest.raises(ValueError, match="no"):
            cache.get_or_compute(key(1), fail)

    def second():
        started.wait()
        results.append(cache.get_or_compute(key(1), lambda: embedding(5)))

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results[0] == 5).all()


def test_a_folder_is_shared_between_runs(tmp_path):
    EmbeddingCache(folder=tmp_path).put(key(1), embedding(1))
    other = EmbeddingCache(folder=tmp_path)
    assert (other.get(key(1)) == 1).all() and other.get(key(2)) is None
    other.clear()
    assert other.get(key(1)) is None and list(tmp_path.iterdir()) == []


def test_the_folder_is_bounded_and_the_oldest_goes_first(tmp_path):
    size = 2000 + 128
    folder = CacheFolder(tmp_path, max_bytes=3 * size)
    for number in range(3):
        folder.write(key(number).digest, embedding(number).astype(np.float16))
        os.utime(tmp_path / f"{key(number).digest}.npy", (number, number))
    assert folder.read(key(0).digest) is not None  # used now: the second is the oldest
    folder.write(key(3).digest, embedding(3).astype(np.float16))
    assert folder.bytes_used <= 3 * size
    assert [folder.read(key(n).digest) is not None for n in range(4)] == [True, False, True, True]


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    mine = tmp_path / "notes.npy"
    mine.write_bytes(b"mine")
    cache = EmbeddingCache(folder=tmp_path, disk_bytes=1)
    cache.put(key(1), embedding(1))
    cache.clear()
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "longer", "pickle"])
def test_a_damaged_file_counts_as_absent_and_is_replaced(tmp_path, damage):
    EmbeddingCache(folder=tmp_path).put(key(1), embedding(1))
    path = tmp_path / f"{key(1).digest}.npy"
    whole = path.read_bytes()
    if damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    else:
        content = {"truncated": whole[:-7], "empty": b"", "garbage": os.urandom(300), "longer": whole + b"x"}
        path.write_bytes(content[damage])
    cache = EmbeddingCache(folder=tmp_path)
    assert cache.get(key(1)) is None
    assert (cache.get_or_compute(key(1), lambda: embedding(2)) == 2).all()
    assert (EmbeddingCache(folder=tmp_path).get(key(1)) == 2).all()


def test_a_folder_that_cannot_be_written_does_not_stop_the_work(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    cache = EmbeddingCache(folder=blocked / "cache")
    assert (cache.get_or_compute(key(1), lambda: embedding(1)) == 1).all()
    assert (cache.get(key(1)) == 1).all()


def test_an_entry_that_another_process_has_open_does_not_switch_the_folder_off(tmp_path, monkeypatch):
    """On Windows such an entry is neither read nor replaced; both refusals are made here."""
    folder, busy = CacheFolder(tmp_path, max_bytes=10**6), f"{key(1).digest}.npy"
    rename, opened = Path.replace, Path.open

    def replace(self, target):
        if target.name == busy:
            raise PermissionError(13, "Access is denied", str(self), None, str(target))
        return rename(self, target)

    def open_(self, *arguments, **options):
        if self.name == busy:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    folder.write(key(1).digest, embedding(1).astype(np.float16))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        patch.setattr(Path, "replace", replace)
        assert folder.read(key(1).digest) is None
        folder.write(key(1).digest, embedding(2).astype(np.float16))
        folder.write(key(3).digest, embedding(3).astype(np.float16))
    assert (folder.read(key(1).digest) == 1).all() and (folder.read(key(3).digest) == 3).all()

    def read_only(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", read_only)
        folder.write(key(4).digest, embedding(4).astype(np.float16))
    folder.write(key(5).digest, embedding(5).astype(np.float16))
    assert folder.read(key(5).digest) is None, "a folder that may not be written is not tried again"


_WRITER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from SAMFinetuneLogic.prompting.cache import EmbeddingCache, EmbeddingKey
folder, start, endless = Path(sys.argv[1]), int(sys.argv[2]), len(sys.argv) > 3
cache = EmbeddingCache(memory_bytes=0, folder=folder, disk_bytes=40 * 40128)
print("ready", flush=True)
round = 0
while endless or round < 6:
    for step in range(20):
        number = (start + step) % 20
        key = EmbeddingKey(hashlib.sha256(str(number).encode()).hexdigest())
        found = cache.get_or_compute(key, lambda: np.full((1, 20000), number, dtype=np.float32))
        assert found.shape == (1, 20000) and (found == number).all(), number
        if (step + round) % 3 == 0:
            cache.put(key, np.full((1, 20000), number, dtype=np.float32))
    round += 1
"""


def start_writer(folder, *arguments):
    command = [sys.executable, "-c", _WRITER, str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_never_see_half_a_file(tmp_path):
    writers = [start_writer(tmp_path, start) for start in (0, 0, 7, 13)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    reader = EmbeddingCache(folder=tmp_path)
    assert all((reader.get(key(number)) == number).all() for number in range(20))
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path):
    for delay in (0.0, 0.011, 0.023):
        writer = start_writer(tmp_path, 0, "endless")
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.communicate()
    (tmp_path / ".tmp-abandoned.npy").write_bytes(b"half")  # as a kill in the middle of writing would leave it
    reader = EmbeddingCache(folder=tmp_path)
    for number in range(20):
        found = reader.get(key(number))
        assert found is None or ((found == number).all() and found.shape == (1, 20000))
    for leftover in tmp_path.glob(".tmp-*"):
        os.utime(leftover, (1, 1))
    reader.put(key(99), embedding(99))
    assert not list(tmp_path.glob(".tmp-*"))
