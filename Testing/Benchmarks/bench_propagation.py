"""Time and memory of filling in a large volume from five annotated slices.

    python Testing/Benchmarks/bench_propagation.py --method auto --slices 300 --side 512 [--no-network]

The volume is a phantom: an ellipsoid in noise. The second of two runs with one cache is timed: its slices are encoded.
What training the correcting network takes beyond that is reported beside it, from a third run with the same cache.
Memory is what the process needed at its peak beyond what it held, with the image, before; the bound is what
``propagate_volume`` promises, with the cache's own.
"""

import argparse
import json
import resource
import time
from dataclasses import replace

import numpy as np

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.propagation.volume import BYTES_PER_VOXEL, METHODS, PropagationOptions, propagate_volume


def phantom(count: int, side: int) -> tuple[Volume, LabelMap]:
    """An image and its truth, (count, side, side)."""
    rng = np.random.default_rng(0)
    rows, cols = np.ogrid[:side, :side]
    gray, truth = np.empty((count, side, side), dtype=np.int16), np.zeros((count, side, side), dtype=np.uint8)
    for k in range(count):
        radius = side / 5 * np.sqrt(max(0.0, 1 - ((k - count / 2) / (0.45 * count)) ** 2))
        truth[k] = ((rows - side / 2) / 1.3) ** 2 + (cols - side / 2) ** 2 < radius**2
        gray[k] = 80 * truth[k] + rng.normal(40, 10, (side, side))
    affine = np.diag([-0.8, -0.8, 1.5, 1.0])
    return Volume(gray, affine, modality="MR"), LabelMap(truth, affine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--method", choices=METHODS, default="auto")
    parser.add_argument("--no-network", action="store_true")
    arguments = parser.parse_args()

    volume, truth = phantom(arguments.slices, arguments.side)
    present = np.flatnonzero(truth.voxels.any(axis=(1, 2)))
    chosen = tuple(int(k) for k in np.linspace(present[0], present[-1], 7)[1:-1].round())
    drawn = np.zeros_like(truth.voxels)
    drawn[list(chosen)] = truth.voxels[list(chosen)]
    labels = LabelMap(drawn, truth.ijk_to_ras)
    model = None
    if not arguments.no_network and arguments.method != "interpolate":
        from SAMFinetuneLogic.models.loading import load_model

        model = load_model()
    options = PropagationOptions(
        slices=chosen, first=int(present[0]), last=int(present[-1]), method=arguments.method, adapt=False
    )
    cache = EmbeddingCache(1024 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, cpu = [], []
    for adapt in [False] * (1 if model is None else 2) + [True]:
        start, started = time.perf_counter(), time.process_time()
        propagate_volume(volume, labels, model, replace(options, adapt=adapt), cache=cache)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - started)
    per_100 = 100 / (len(present) - len(chosen))
    adapting, adapting_cpu = seconds.pop() - seconds[-1], cpu.pop() - cpu[-1]
    record = {
        "benchmark": "propagation",
        "shape_kji": list(volume.shape),
        "method": arguments.method,
        "network": model is not None,
        "seconds_first": round(seconds[0], 2),
        "seconds_cached": round(seconds[-1], 2),
        "seconds_cached_per_100_slices": round(seconds[-1] * per_100, 2),
        "cpu_seconds_cached_per_100_slices": round(cpu[-1] * per_100, 2),
        "adapting_seconds": round(adapting, 2),
        "adapting_cpu_seconds": round(adapting_cpu, 2),
        "bound_mib_beyond_image": round((BYTES_PER_VOXEL * truth.voxels.size + cache.memory_bytes) / 2**20),
        "peak_mib_beyond_image": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
        "cache_mib": round(cache.bytes_used / 2**20),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
