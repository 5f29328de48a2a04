"""Time of fitting the few-shot decoder to five slices, and of a training step with and without cached embeddings.

    python Testing/Benchmarks/bench_fewshot.py [--model samfinetune_default] [--slices 5]

The image is a phantom: a bright ball in noise. The first fit encodes the slices and their augmented copies, the second
finds them in the cache; a warm start is what leaving an annotated slice out costs. Without a cache, a step would encode
the slices that it queries and those that support them anew.
"""

import argparse
import json
import time

import numpy as np
import torch

from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.prompting.cache import EmbeddingCache


def phantom(count: int, side: int) -> tuple[Volume, LabelMap]:
    """An image and its truth, (count, side, side)."""
    k, rows, cols = np.ogrid[:count, :side, :side]
    truth = ((k - count / 2) / (0.6 * count)) ** 2 + ((rows - side / 2) ** 2 + (cols - side / 2) ** 2) / (
        side / 4
    ) ** 2 < 1
    gray = 80 * truth + np.random.default_rng(0).normal(40, 10, truth.shape)
    return Volume(gray.astype(np.int16), np.eye(4), modality="MR"), LabelMap(truth.astype(np.uint8), np.eye(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="samfinetune_default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--steps", type=int, default=FitSettings().steps, help="of a fit (default: %(default)s)")
    arguments = parser.parse_args()

    model, settings, cache = (
        load_model(arguments.model, arguments.device),
        FitSettings(steps=arguments.steps),
        EmbeddingCache(),
    )
    volume, labels = phantom(arguments.slices, arguments.side)
    collection = new_collection(volume, labels, range(arguments.slices), model, "k", choose_window(volume), cache)
    first = fit(collection, model, settings, cache=cache)
    start, cpu = time.perf_counter(), time.process_time()
    second = fit(collection, model, settings, cache=cache)
    cached_s, cached_cpu_s = time.perf_counter() - start, time.process_time() - cpu
    warm = fit(collection.without(collection.slices[:1]), model, settings, second, cache)

    side = model.preprocessing.size
    pixels = torch.zeros(1, 3, side, side, device=model.device)
    model.encode(pixels)
    start = time.perf_counter()
    for _ in range(5):
        model.encode(pixels)
    encode_s = (time.perf_counter() - start) / 5
    # A step without a cache: the queried views, and a support set of random size, half of the slices on average.
    encoded = settings.batch + arguments.slices / 2
    step_s = second.record.seconds[1] / max(second.record.steps, 1)
    record = {
        "benchmark": "fewshot",
        "model": model.entry.id,
        "slices": arguments.slices,
        "threads": torch.get_num_threads(),
        "fit_first_s": round(sum(first.record.seconds), 2),
        "fit_cached_s": round(cached_s, 2),
        "fit_cached_cpu_s": round(cached_cpu_s, 2),
        "steps": second.record.steps,
        "step_cached_ms": round(1000 * step_s, 1),
        "encode_ms": round(1000 * encode_s, 1),
        "step_uncached_ms": round(1000 * (step_s + encoded * encode_s), 1),
        "speed_up": round((step_s + encoded * encode_s) / step_s, 2),
        "warm_refit_s": round(sum(warm.record.seconds), 2),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
