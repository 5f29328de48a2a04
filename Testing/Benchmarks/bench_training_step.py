"""How long a fine-tuning step takes and how much memory it needs, against the plain way. Prints one JSON line.

    OMP_NUM_THREADS=2 python Testing/Benchmarks/bench_training_step.py [--model sam_vit_b] [--device cpu]
    OMP_NUM_THREADS=2 python Testing/Benchmarks/bench_training_step.py --model sam_vit_h --only ours --quick

"ours" is the step of `samfinetune finetune`: folded attention, frozen layers at the front run once and kept, reduced
precision where the device computes in it (--precision fp32: not even there), with frozen weights converted once and
LoRA added to them, and tiny numbers taken for zero. "plain" is the same strategy with segment_anything's own attention,
the whole encoder at every step, peft's layers, torch's defaults, and fp32. Their steps are taken in turn. "same" is how
far the two losses of the first step lie apart when both compute in fp32. All but the default model have random weights,
which take as long as trained ones. "cpu_ms" is the processor time of a step, which other work on the machine lengthens
less: with one thread it tells the two apart also there. With more threads, those of torch do not take tiny numbers for
zero here as they do in a job, which says so before it starts them.

Memory needs a process for itself, hence is given with --only: the largest resident size on the CPU, model as published
and PyTorch included, torch's own figure on a GPU, in MiB. Without --checkpointing a loop starts; it switches it on when
memory does not suffice for one slice.
"""

import argparse
import json
import resource
import sys
from dataclasses import replace
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.batches import BatchMaker
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.steps import Stepper
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import default_segment
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID, find_entry
from SAMFinetuneLogic.models.device import choose_device, choose_precision, describe_device
from SAMFinetuneLogic.models.fast_attention import FoldedAttention, use_folded_attention
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.models.networks import build_network

VARIANTS = ("ours", "plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL_ID)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--components", default="encoder_decoder", choices=("decoder", "encoder_decoder"))
    parser.add_argument("--algorithm", default="lora", choices=("vanilla", "adapter", "lora"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one step only, after one on the same view of one slice")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32"), help='of "ours"')
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--only", choices=VARIANTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    variants = [options.only] if options.only else list(VARIANTS)
    if options.quick:
        options.repeats = 1
    found = measure(variants, options, device)
    record: dict[str, Any] = {
        "benchmark": "training_step",
        "model": options.model,
        "strategy": f"{options.algorithm}/{options.components}/recommended",
        "device": describe_device(device, choose_precision(device, options.precision)),
        "torch": torch.__version__,
        "batch": options.batch,
        "checkpointing": options.checkpointing,
        **found,
    }
    if len(found) == len(VARIANTS):
        for name, key in (("plain_over_ours", "ms"), ("plain_over_ours_cpu", "cpu_ms")):
            record[name] = round(found["plain"][key] / found["ours"][key], 2)
        losses = [first_loss(name, options, device) for name in VARIANTS]
        record["same"] = abs(losses[0] - losses[1]) / abs(losses[1])
    print(json.dumps(record))


def measure(variants: list[str], options: argparse.Namespace, device: torch.device) -> dict[str, dict[str, Any]]:
    """Median time of a step after the first ones and, for a single variant, peak memory."""
    ready = {}
    for name in variants:
        precision: Any = "fp32" if name == "plain" else options.precision
        settings = LoopSettings(
            steps=100,
            batch=options.batch,
            views=1 if options.quick else 2,
            precision=precision,
            checkpointing=options.checkpointing,
        )
        ready[name] = prepare(name, options, device, settings)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    # The fixed number of views has been seen once before the clock starts.
    unseen = 1 if options.quick else 4
    for number in range(unseen + options.repeats):
        for name, (stepper, batches) in ready.items():
            batch = batches.batch(number)
            start, start_cpu = perf_counter(), process_time()
            stepper.step(batch, number)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append((perf_counter() - start, process_time() - start_cpu))
    found: dict[str, dict[str, Any]] = {}
    for name, (stepper, _) in ready.items():
        wall, cpu = (round(1000 * median(column), 1) for column in zip(*times[name][unseen:], strict=True))
        trained = sum(tensor.numel() for tensor in stepper.adapted.trainable_state().values())
        found[name] = {"ms": wall, "cpu_ms": cpu, "trained": trained}
        if len(ready) == 1:
            found[name]["peak_mib"] = peak_memory(device)
    return found


def peak_memory(device: torch.device) -> int:
    """MiB that this process has held at most."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)


def first_loss(variant: str, options: argparse.Namespace, device: torch.device) -> float:
    settings = LoopSettings(steps=100, batch=options.batch, views=2, precision="fp32")
    stepper, batches = prepare(variant, options, device, settings)
    return stepper.step(batches.batch(0), 0)["loss"]


def prepare(
    variant: str, options: argparse.Namespace, device: torch.device, settings: LoopSettings
) -> tuple[Stepper, BatchMaker]:
    model = a_model(options.model, device, variant)
    torch.manual_seed(0)
    adapted = adapt(model, Strategy.of(options.algorithm, options.components), "prompts", ("disc",))
    stepper = Stepper(adapted, model, settings, plain=variant == "plain")
    data = a_set()
    numbers = (0,) if options.quick else (0, 1)
    return stepper, BatchMaker(data, numbers, ViewMaker(model, data.values), settings, True, adapted.starts_frozen)


def a_model(model_id: str, device: torch.device, variant: str) -> LoadedModel:
    if model_id == DEFAULT_MODEL_ID:
        return load_model(model_id, str(device))
    entry = find_entry(model_id)
    torch.manual_seed(0)
    network = build_network(entry.backbone).requires_grad_(False)
    if variant == "ours":
        use_folded_attention(network.image_encoder)
    assert variant == "ours" or not any(isinstance(m, FoldedAttention) for m in network.modules())
    return LoadedModel(network, entry, "", device, "fp32")


def a_set() -> LabelledSet:
    """Two slices with a bright disc."""
    rows, cols = np.indices((256, 256)) / 256
    slices = []
    for number in range(2):
        disc = (rows - 0.45) ** 2 + (cols - 0.5 - 0.05 * number) ** 2 < 0.2**2
        pixels = np.clip(100 * disc + 60 + np.random.default_rng(number).normal(0, 15, disc.shape), 0, 255)
        slices.append(
            LabelledSlice(pixels.astype(np.uint8), disc.astype(np.uint16), (1.0, 1.0), 0, SliceIndex("k", number))
        )
    segment = replace(default_segment(1), name="disc")
    return LabelledSet(tuple(slices), (segment,), ("discs",), (Window(0, 255, "as_is"),))


if __name__ == "__main__":
    main()
