"""How fast embeddings of SAM's size (256 x 64 x 64) go in and out of the cache. Prints one JSON line.

python Testing/Benchmarks/bench_cache.py [--slices 64]
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.cache import EmbeddingCache, EmbeddingKey
from SAMFinetuneLogic.prompting.slice_image import SliceImage


def milliseconds(work, items) -> float:
    """Mean time of ``work`` over the items."""
    start = perf_counter()
    for item in items:
        work(item)
    return round(1000 * (perf_counter() - start) / len(items), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=64)
    slices = parser.parse_args().slices
    embedding = np.random.default_rng(0).normal(0, 1, (1, 256, 64, 64)).astype(np.float32)
    keys = [EmbeddingKey(hashlib.sha256(str(number).encode()).hexdigest()) for number in range(slices)]
    volume = np.random.default_rng(1).integers(-1000, 1000, (slices, 512, 512), dtype=np.int16)
    images = [SliceImage(pixels, (1.0, 1.0), SliceIndex("k", 0), Window(0.0, 1.0, "custom")) for pixels in volume]
    with tempfile.TemporaryDirectory() as folder:
        memory = EmbeddingCache(memory_bytes=2**40)
        disk = EmbeddingCache(memory_bytes=0, folder=Path(folder))
        record = {
            "benchmark": "cache",
            "slices": slices,
            "bytes_each": embedding.astype(np.float16).nbytes,
            "hash_512_slice_ms": milliseconds(lambda image: image.content_hash, images),
            "memory_put_ms": milliseconds(lambda key: memory.put(key, embedding), keys),
            "memory_get_ms": milliseconds(memory.get, keys),
            "disk_put_ms": milliseconds(lambda key: disk.put(key, embedding), keys),
            "disk_get_ms": milliseconds(disk.get, keys),
        }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
