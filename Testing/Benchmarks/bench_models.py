"""How long an encoded slice and a click take with each model, alternating in one process. Prints one JSON line.

    OMP_NUM_THREADS=2 python Testing/Benchmarks/bench_models.py [--repeats 20] [--threads 2] [--device cpu]

The default model; segment_anything's own SAM ViT-B (its classes and its SamPredictor); the same network as this
package runs it; and the layout of MobileSAM (ViT-T). All but the default model have random weights, which take as long
as trained ones. "encoder" is the image encoder alone, "click" all from a point in pixels of the slice to masks on
them. Times are medians in milliseconds; "of_stock" is the median of the ratios to stock SAM ViT-B, turn by turn.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from random_weights import random_model

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID
from SAMFinetuneLogic.models.device import choose_device, describe_device
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.models.torch_compat import import_segment_anything
from SAMFinetuneLogic.prompting.placement import SlicePrompts
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

STOCK = "SAM ViT-B, segment_anything"
BUDGET_MS = {"encoder": 300.0, "click": 60.0}
"""Of the default model on two CPU cores."""


@dataclass(frozen=True)
class Runner:
    """One model: what it is, and its two stages; each waits until the result is there."""

    parameters: int
    precision: str
    encode: Callable[[], Any]
    click: Callable[[np.ndarray], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--side", type=int, default=512, help="pixels of the slice")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    image = a_slice(options.side)
    runners = {
        "default": ours(load_model(DEFAULT_MODEL_ID, options.device), image),
        STOCK: stock_vit_b(image, device),
        "SAM ViT-B, here": ours(random_model("sam_vit_b", device), image),
        "MobileSAM layout, here": ours(random_model("mobilesam_vit_t", device), image),
    }
    times = measure(runners, options.repeats, options.side, device)
    stages = {stage: summary(times[stage]) for stage in ("encoder", "click")}
    record = {
        "benchmark": "models",
        "device": describe_device(device, "fp32"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "repeats": options.repeats,
        "side": options.side,
        "models": {name: {"parameters": r.parameters, "precision": r.precision} for name, r in runners.items()},
        **stages,
        "default_within_budget": {name: stages[name]["ms"]["default"] <= limit for name, limit in BUDGET_MS.items()},
    }
    print(json.dumps(record))


def a_slice(side: int) -> SliceImage:
    """A bright disc on a noisy ground, as a CT slice."""
    rows, cols = np.indices((side, side)) / side
    disc = (rows - 0.45) ** 2 + (cols - 0.55) ** 2 < 0.2**2
    pixels = 100 * disc + np.random.default_rng(0).normal(0, 20, (side, side))
    return SliceImage(pixels.astype(np.int16), (0.7, 0.7), SliceIndex("k", 0), Window(-160.0, 240.0, "soft_tissue"))


def ours(model: LoadedModel, image: SliceImage) -> Runner:
    """A model behind this package's predictor."""
    predictor = SlicePredictor(model)
    embedded = predictor.embed(image)
    transform = SliceTransform(image.shape, image.spacing, model.preprocessing)
    batch = transform.prepare(image.to_uint8())[None]

    def click(position: np.ndarray) -> np.ndarray:
        prompts = SlicePrompts(position[None], np.array([1]))
        return predict_slice(predictor, embedded, prompts, refine_small=False).mask

    return Runner(_size(model.network), str(model.precision), lambda: model.encode(batch), click)


def stock_vit_b(image: SliceImage, device: torch.device) -> Runner:
    """segment_anything's own model and predictor."""
    import_segment_anything()
    from segment_anything import SamPredictor, sam_model_registry

    torch.manual_seed(0)
    network = sam_model_registry["vit_b"]().eval().requires_grad_(False).to(device)
    predictor = SamPredictor(network)
    predictor.set_image(np.repeat(image.to_uint8()[..., None], 3, axis=2))
    size = network.image_encoder.img_size
    batch = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)

    def encode() -> torch.Tensor:
        with torch.inference_mode():
            return network.image_encoder(batch)

    def click(position: np.ndarray) -> np.ndarray:
        return predictor.predict(position[None, ::-1], np.array([1]), multimask_output=True)[0]

    return Runner(_size(network), "fp32", encode, click)


def measure(
    runners: dict[str, Runner], repeats: int, side: int, device: torch.device
) -> dict[str, dict[str, list[float]]]:
    """Stage -> model -> milliseconds of each turn; a turn that does not count goes before."""
    positions = np.random.default_rng(1).uniform(0.4, 0.6, (repeats + 1, 2)) * side
    times: dict[str, dict[str, list[float]]] = {stage: {name: [] for name in runners} for stage in BUDGET_MS}
    for turn, position in enumerate(positions):
        for name, runner in runners.items():
            encoder_ms = _timed(runner.encode, device)
            click_ms = _timed(lambda: runner.click(position), device)  # noqa: B023 (called at once)
            if turn:
                times["encoder"][name].append(encoder_ms)
                times["click"][name].append(click_ms)
    return times


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Medians of the times, and of their ratios to the stock model's."""
    ratios = {
        name: [own / stock for own, stock in zip(values, times[STOCK], strict=True)] for name, values in times.items()
    }
    return {
        "ms": {name: round(median(values), 1) for name, values in times.items()},
        "of_stock": {name: round(median(values), 4) for name, values in ratios.items()},
    }


def _size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _timed(work: Callable[[], Any], device: torch.device) -> float:
    _wait_for(device)
    start = perf_counter()
    work()
    _wait_for(device)
    return 1000 * (perf_counter() - start)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


if __name__ == "__main__":
    main()
