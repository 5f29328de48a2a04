"""Time of fitting the few-shot decoder to five slices, and of a training step with and without cached embeddings.

    python Testing/Benchmarks/bench_fewshot.py [--model samfinetune_default] [--slices 5]
    python Testing/Benchmarks/bench_fewshot.py --model sam_vit_b --random --augmentations 1 --steps 4

The image is a phantom: a bright ball in noise. The first fit encodes the slices and their augmented copies, the second
finds them in the cache; a warm start is what leaving an annotated slice out costs. Without a cache, a step would draw
and encode a new augmented copy of each slice that it queries or that supports them: "view_ms" is what one copy takes,
"encode_ms" the encoder's part of it. What the cache can gain is the ratio of encoder and decoder, so it is large for
the large encoders and small for a model whose encoder is as cheap as its decoder: "step_cached_ms" is the decoder
alone, forward, backward and the optimiser.
"""

import argparse
import json
import time
from dataclasses import replace
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from random_weights import random_model

from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.views import encode_views
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.models.device import choose_device
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.prompting.cache import EmbeddingCache

VIEWS = 3
"""That are timed."""


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
    parser.add_argument("--random", action="store_true", help="the model's layout with random weights, just as fast")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--side", type=int, default=256)
    default = FitSettings()
    parser.add_argument("--steps", type=int, default=default.steps, help="of a fit (default: %(default)s)")
    parser.add_argument("--augmentations", type=int, default=default.augmentations, help="(default: %(default)s)")
    arguments = parser.parse_args()

    model = (
        random_model(arguments.model, choose_device(arguments.device))
        if arguments.random
        else load_model(arguments.model, arguments.device)
    )
    settings = replace(
        default,
        steps=arguments.steps,
        warm_steps=min(arguments.steps, default.warm_steps),
        augmentations=arguments.augmentations,
        purpose="other_images",
    )
    cache = EmbeddingCache()
    volume, labels = phantom(arguments.slices, arguments.side)
    collection = new_collection(volume, labels, range(arguments.slices), model, "k", choose_window(volume), cache)
    first = fit(collection, model, settings, cache=cache)
    start, cpu = time.perf_counter(), time.process_time()
    ends: list[float] = []
    views = arguments.slices * (1 + settings.augmentations)
    second = fit(
        collection,
        model,
        settings,
        cache=cache,
        progress=lambda done, _: ends.append(time.perf_counter()) if done > views else None,
    )
    cached_s, cached_cpu_s = time.perf_counter() - start, time.process_time() - cpu
    warm = fit(collection.without(collection.slices[:1]), model, settings, second, cache)

    # Only copies are encoded, so these are as many as are counted.
    one = collection.without(collection.slices[1:])
    start = time.perf_counter()
    encode_views(one, model, replace(settings, augmentations=VIEWS, mirror="never"))
    view_s = (time.perf_counter() - start) / VIEWS
    side = model.preprocessing.size
    pixels = torch.zeros(1, 3, side, side, device=model.device)
    model.encode(pixels)
    start = time.perf_counter()
    for _ in range(VIEWS):
        model.encode(pixels)
    encode_s = (time.perf_counter() - start) / VIEWS
    # A step without a cache: the queried views, and a support set of random size, half of the slices on average.
    encoded = settings.batch + arguments.slices / 2
    step_s = median(after - before for before, after in pairwise(ends))
    uncached_s = step_s + encoded * view_s
    record = {
        "benchmark": "fewshot",
        "model": model.entry.id,
        "precision": str(model.precision),
        "random_weights": arguments.random,
        "slices": arguments.slices,
        "threads": torch.get_num_threads(),
        "fit_first_s": round(sum(first.record.seconds), 2),
        "fit_cached_s": round(cached_s, 2),
        "fit_cached_cpu_s": round(cached_cpu_s, 2),
        "steps": second.record.steps,
        "step_cached_ms": round(1000 * step_s, 1),
        "encode_ms": round(1000 * encode_s, 1),
        "view_ms": round(1000 * view_s, 1),
        "step_uncached_ms": round(1000 * uncached_s, 1),
        "speed_up": round(uncached_s / step_s, 2),
        "warm_refit_s": round(sum(warm.record.seconds), 2),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
