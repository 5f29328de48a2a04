"""A stream of synthetic pairs made in another process, with a pool from which the training draws repeatedly."""

import collections
import contextlib
import multiprocessing
import os
import queue
import threading
import time
from multiprocessing.synchronize import Event

import numpy as np

from SAMFinetuneLogic.synthetic.samples import SlicePair, random_pair

_MINIMUM = 64


def _produce(seed: int, size: int, output: "multiprocessing.Queue[SlicePair]", stop: Event) -> None:
    rng = np.random.default_rng(seed)
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        try:
            output.put(random_pair(rng, size), timeout=5)
        except queue.Full:
            continue


class PairFeed:
    """A pool of pairs that producer processes keep renewing.

    Each drawing orders as many new pairs as it takes, so that the producers neither fall behind nor run ahead; the
    pool mixes old and new ones, and every drawing is augmented and given targets anew.

    Args:
        size: side of the slices in pixels.
        seed: of the first producer; the others count up.
        producers: number of processes.
        capacity: pairs in the pool.
    """

    def __init__(self, size: int, seed: int, producers: int = 1, capacity: int = 6000) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: multiprocessing.Queue[SlicePair] = context.Queue(maxsize=64)
        self._stop = context.Event()
        self._pool: collections.deque[SlicePair] = collections.deque(maxlen=capacity)
        self.produced = 0
        self._orders = threading.Semaphore(_MINIMUM)
        self._processes = [
            context.Process(target=_produce, args=(seed + n, size, self._queue, self._stop), daemon=True)
            for n in range(producers)
        ]
        for process in self._processes:
            process.start()
        # A pipe holds less than one pair, so only a waiting reader takes them as fast as they are made.
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        while not self._stop.is_set():
            if not self._orders.acquire(timeout=1):
                continue
            while not self._stop.is_set():
                with contextlib.suppress(queue.Empty):
                    self._pool.append(self._queue.get(timeout=1))
                    self.produced += 1
                    break

    def draw(self, rng: np.random.Generator, count: int) -> list[SlicePair]:
        """``count`` pairs from the pool; waits until it has its first filling."""
        self._orders.release(count)
        while len(self._pool) < _MINIMUM:
            if not any(process.is_alive() for process in self._processes):
                raise RuntimeError("The processes that make training images have stopped.")
            time.sleep(0.1)
        return [self._pool[n] for n in rng.integers(len(self._pool), size=count)]

    def close(self) -> None:
        """Stop the producers."""
        self._stop.set()
        self._reader.join(timeout=5)
        for process in self._processes:
            process.terminate()
            process.join(timeout=5)
