"""The embedding cache: each slice is encoded once.

It holds image content in encoded form, in memory and, where a folder is given, on disk: treat that folder as you
treat the images; :meth:`EmbeddingCache.clear` empties both.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.prompting.cache_folder import CacheFolder

DEFAULT_MEMORY_BYTES = 512 * 2**20
DEFAULT_DISK_BYTES = 4 * 2**30

_HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class EmbeddingKey:
    """Names one embedding; equal keys have equal embeddings. Made by ``embedding_key.embedding_key``.

    Attributes:
        digest: 64 hexadecimal digits; also the name of the file on disk.
    """

    digest: str


class _Computation:
    """What threads wait for while another one computes an embedding."""

    def __init__(self) -> None:
        self.finished = threading.Event()
        self.result: np.ndarray | None = None


class EmbeddingCache:
    """Embeddings in half precision, least recently used out first; safe to share between threads and processes.

    Args:
        memory_bytes: bound on the arrays held in memory. An embedding of SAM takes 2 MiB.
        folder: also keep them in this folder, which other processes and later runs may share; None for memory only.
        disk_bytes: bound on that folder.

    Example:
        >>> cache = EmbeddingCache(memory_bytes=256 * 2**20)
        >>> predictor = SlicePredictor(load_model("vit_b"), cache)
    """

    def __init__(
        self,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        folder: Path | None = None,
        disk_bytes: int = DEFAULT_DISK_BYTES,
    ) -> None:
        self.memory_bytes = memory_bytes
        self._disk = None if folder is None else CacheFolder(Path(folder), disk_bytes)
        self._entries: OrderedDict[str, np.ndarray] = OrderedDict()
        self._bytes_used = 0
        self._lock = threading.Lock()
        self._running: dict[str, _Computation] = {}

    @property
    def bytes_used(self) -> int:
        """Bytes of the arrays held in memory."""
        return self._bytes_used

    def __len__(self) -> int:
        """Number of embeddings held in memory."""
        return len(self._entries)

    def get(self, key: EmbeddingKey) -> np.ndarray | None:
        """The float16 embedding, read-only, from memory or disk; None if it is in neither."""
        with self._lock:
            entry = self._entries.get(key.digest)
            if entry is not None:
                self._entries.move_to_end(key.digest)
                return entry
        if self._disk is None:
            return None
        stored = self._disk.read(key.digest)
        return None if stored is None else self._remember(key.digest, stored)

    def put(self, key: EmbeddingKey, embedding: np.ndarray) -> np.ndarray:
        """Store an embedding; returns it in half precision, read-only.

        Values beyond the range of float16 are clamped to its largest number: they never become infinite.
        """
        half = np.clip(embedding, -_HALF_MAX, _HALF_MAX).astype(np.float16)
        half = self._remember(key.digest, half)
        if self._disk is not None:
            self._disk.write(key.digest, half)
        return half

    def get_or_compute(self, key: EmbeddingKey, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The embedding, computed by the first thread that asks for it while others with the same key wait.

        If ``compute`` fails, its error reaches the thread that ran it, and the next waiting thread tries again.

        Returns:
            float16, read-only.
        """
        while True:
            found = self.get(key)
            if found is not None:
                return found
            with self._lock:
                running = self._running.get(key.digest)
                if running is None and key.digest not in self._entries:
                    own = self._running[key.digest] = _Computation()
                    break
            if running is not None:
                running.finished.wait()
                if running.result is not None:
                    return running.result
        try:
            own.result = self.put(key, compute())
            return own.result
        finally:
            with self._lock:
                del self._running[key.digest]
            own.finished.set()

    def clear(self) -> None:
        """Forget everything, in memory and on disk."""
        with self._lock:
            self._entries.clear()
            self._bytes_used = 0
        if self._disk is not None:
            self._disk.clear()

    def _remember(self, name: str, array: np.ndarray) -> np.ndarray:
        array.flags.writeable = False
        with self._lock:
            earlier = self._entries.pop(name, None)
            if earlier is not None:
                self._bytes_used -= earlier.nbytes
            if array.nbytes <= self.memory_bytes:
                self._entries[name] = array
                self._bytes_used += array.nbytes
            while self._bytes_used > self.memory_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._bytes_used -= oldest.nbytes
        return array
