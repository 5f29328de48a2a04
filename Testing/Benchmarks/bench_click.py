"""How long a click takes: encoding a slice once, then the decoder for each click. Prints one JSON line.

``..._with_looks_ms`` is what the user waits for: closer looks at crops included, each of them encoded anew.

python Testing/Benchmarks/bench_click.py [--model ID_OR_PATH] [--device auto] [--side 512] [--clicks 20]
"""

import argparse
import json
from statistics import median
from time import perf_counter

import numpy as np
import torch

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice


def a_slice(side: int, seed: int) -> SliceImage:
    """A bright disc on a noisy ground, as a CT slice of ``side`` x ``side`` pixels."""
    rows, cols = np.indices((side, side)) / side
    disc = (rows - 0.45) ** 2 + (cols - 0.55) ** 2 < 0.15**2
    pixels = 100 * disc + np.random.default_rng(seed).normal(0, 20, (side, side))
    return SliceImage(pixels.astype(np.int16), (0.7, 0.7), SliceIndex("k", seed), Window(-160.0, 240.0, "soft_tissue"))


def milliseconds(work, count: int) -> float:
    """The median time of ``work(n)`` for n = 0 ... count - 1, after one call that does not count."""
    work(0)
    times = []
    for number in range(count):
        start = perf_counter()
        work(number)
        times.append(1000 * (perf_counter() - start))
    return round(median(times), 2)


def measure(model: LoadedModel, side: int, clicks: int) -> dict[str, float]:
    """Medians in milliseconds."""
    images = [a_slice(side, seed) for seed in range(6)]
    plain, cached = SlicePredictor(model), SlicePredictor(model, EmbeddingCache())
    embedded = plain.embed(images[0])
    positions = np.random.default_rng(0).uniform(0.4, 0.6, (clicks, 2)) * side
    one = [SlicePrompts(position[None], np.array([1])) for position in positions]
    five = SlicePrompts(positions[:5], np.array([1, 1, 0, 1, 0]))
    feedback = predict_slice(plain, embedded, one[0], refine_small=False).mask_logits
    return {
        "encode_ms": milliseconds(lambda n: plain.embed(images[n % len(images)]), 5),
        "first_click_ms": milliseconds(lambda n: predict_slice(plain, embedded, one[n], refine_small=False), clicks),
        "later_click_ms": milliseconds(
            lambda n: predict_slice(plain, embedded, five, feedback, refine_small=False), clicks
        ),
        "first_click_with_looks_ms": milliseconds(lambda n: predict_slice(plain, embedded, one[n]), clicks),
        "later_click_with_looks_ms": milliseconds(lambda n: predict_slice(plain, embedded, five, feedback), clicks),
        "cached_slice_and_click_ms": milliseconds(
            lambda n: predict_slice(cached, cached.embed(images[n % 2]), one[n], refine_small=False), clicks
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL_ID)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--clicks", type=int, default=20)
    options = parser.parse_args()
    model = load_model(options.model, options.device)
    record = {
        "benchmark": "click",
        "model": model.description,
        "side": options.side,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps({**record, **measure(model, options.side, max(options.clicks, 5))}))


if __name__ == "__main__":
    main()
