"""Encoding ahead: order, focus, cancelling, errors, one thread."""

import threading
from concurrent.futures import CancelledError

import pytest

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.prompting.prefetch import Prefetcher, outwards


class Encoder:
    """Stands for the model: each call waits until it is let through."""

    def __init__(self):
        self.calls, self.threads = [], set()
        self.begun, self.gate = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, slice_index):
        self.calls.append(slice_index.index)
        self.threads.add(threading.get_ident())
        self.begun.release()
        assert self.gate.acquire(timeout=10)
        if slice_index.index == 13:
            raise ValueError("slice 13")
        return f"embedding {slice_index.index}"

    def let(self, count):
        for _ in range(count):
            self.gate.release()


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def ahead(encoder):
    with Prefetcher(encoder, lambda axis: 20, radius=3) as prefetcher:
        yield prefetcher
        encoder.let(1000)


def k(index):
    return SliceIndex("k", index)


def test_neighbours_go_outwards_and_stay_inside():
    assert list(outwards(5, 20, 3)) == [6, 4, 7, 3, 8, 2]
    assert list(outwards(0, 3, 9)) == [1, 2]
    assert list(outwards(2, 3, 2)) == [1, 0]
    assert list(outwards(0, 1, 5)) == []


def test_the_slice_in_focus_comes_first_then_its_neighbours(ahead, encoder):
    future = ahead.focus(k(5))
    encoder.let(7)
    assert future.result(timeout=10) == "embedding 5"
    assert ahead.wait_idle(10)
    assert encoder.calls == [5, 6, 4, 7, 3, 8, 2]


def test_scrolling_changes_the_order(ahead, encoder):
    first = ahead.focus(k(5))
    encoder.let(2)
    first.result(timeout=10)
    for _ in range(3):
        encoder.begun.acquire(timeout=10)  # 5 and 6 are done, 4 is being encoded
    skipped = ahead.focus(k(9))
    last = ahead.focus(k(15))
    encoder.let(100)
    assert last.result(timeout=10) == "embedding 15"
    assert ahead.wait_idle(10)
    assert encoder.calls == [5, 6, 4, 15, 16, 14, 17, 13]  # 13 fails, which ends it
    with pytest.raises(CancelledError):
        skipped.result(timeout=0)


def test_clicks_go_before_encoding_ahead_on_the_same_thread(ahead, encoder):
    ahead.focus(k(5)).add_done_callback(lambda _: None)
    encoder.begun.acquire(timeout=10)
    click = ahead.submit(threading.get_ident)
    encoder.let(1)
    thread = click.result(timeout=10)
    encoder.let(100)
    assert ahead.wait_idle(10)
    ahead.focus(k(1)).result(timeout=10)
    assert encoder.threads == {thread} and thread != threading.get_ident()


def test_cancelling_drops_what_has_not_begun(ahead, encoder):
    running = ahead.focus(k(5))
    waiting = ahead.submit(lambda: None)
    encoder.begun.acquire(timeout=10)
    ahead.cancel()
    encoder.let(100)
    assert ahead.wait_idle(10)
    assert running.result(timeout=0) == "embedding 5" and waiting.cancelled() and encoder.calls == [5]
    assert ahead.focus(k(1)).result(timeout=10) == "embedding 1"  # and it goes on working


def test_errors_surface(ahead, encoder):
    encoder.let(100)
    with pytest.raises(ValueError, match="slice 13"):
        ahead.focus(k(13)).result(timeout=10)
    ahead.focus(k(12)).result(timeout=10)
    assert ahead.wait_idle(10)
    assert isinstance(ahead.error, ValueError)
    ahead.focus(k(2)).result(timeout=10)
    assert ahead.wait_idle(10) and ahead.error is None


def test_closing_ends_the_thread(encoder):
    before = threading.active_count()
    ahead = Prefetcher(encoder, lambda axis: 20)
    future = ahead.focus(k(5))
    encoder.let(1)
    future.result(timeout=10)
    encoder.let(100)
    ahead.close()
    ahead.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        ahead.focus(k(5))
