"""The image encoder against segment_anything's own, ViT-B with the same random weights, alternating in one process.

    python Testing/Benchmarks/bench_encoder.py --threads 2

Prints one JSON line: median seconds, ratios of paired runs (medians), relative errors, and the IoU of the masks that
the stock decoder makes from the stock and from the half-precision embedding.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch

from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.device import choose_device, choose_precision, describe_device
from SAMFinetuneLogic.models.fast_attention import use_folded_attention
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.networks import build_network

_POINTS = [(x, y) for x in (200.0, 500.0, 800.0) for y in (150.0, 450.0, 900.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--precision", default="auto", help="of the second fast run (default: what the device gains by)"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    precision = choose_precision(device, arguments.precision)

    torch.manual_seed(0)
    stock = _random_vit_b().to(device)
    fast = copy.deepcopy(stock)
    use_folded_attention(fast.image_encoder)
    entry = find_entry("sam_vit_b")
    fast_fp32 = LoadedModel(fast, entry, "", device, "fp32")
    fast_half = LoadedModel(fast, entry, "", device, precision)
    image = _an_image()

    def encode_stock() -> torch.Tensor:
        with torch.inference_mode():
            return stock.image_encoder(image.to(device))

    runs: dict[str, Callable[[], torch.Tensor]] = {
        "stock": encode_stock,
        "fast_fp32": lambda: fast_fp32.encode(image),
        "fast_half": lambda: fast_half.encode(image),
    }
    embeddings = {name: run() for name, run in runs.items()}  # warms up, too
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            seconds[name].append(_timed(run, device))
    print(
        json.dumps(
            {
                "benchmark": "encoder",
                "device": describe_device(device, precision),
                "torch": torch.__version__,
                "median_seconds": {name: round(statistics.median(times), 4) for name, times in seconds.items()},
                "speedup_fp32": _paired_ratio(seconds, "fast_fp32"),
                "speedup_half": _paired_ratio(seconds, "fast_half"),
                "relative_error_fp32": _relative_error(embeddings["fast_fp32"], embeddings["stock"]),
                "relative_error_half": _relative_error(embeddings["fast_half"], embeddings["stock"]),
                "mask_iou_half": _mask_iou(stock, embeddings["stock"], embeddings["fast_half"]),
            }
        )
    )


def _random_vit_b() -> torch.nn.Module:
    network = build_network("vit_b")
    with torch.no_grad():
        for name, parameter in network.image_encoder.named_parameters():
            if "pos" in name:  # zero in a fresh network, not in a trained one
                parameter.normal_(0, 0.1)
    return network.eval()


def _an_image() -> torch.Tensor:
    """Smooth blobs and noise, normalised as a slice would be: (1, 3, 1024, 1024)."""
    coarse = torch.randn(1, 1, 12, 12)
    smooth = torch.nn.functional.interpolate(coarse, (1024, 1024), mode="bicubic")
    return (smooth + 0.1 * torch.randn(1, 1, 1024, 1024)).expand(-1, 3, -1, -1).contiguous()


def _timed(run: Callable[[], torch.Tensor], device: torch.device) -> float:
    _wait_for(device)
    start = time.perf_counter()
    run()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _paired_ratio(seconds: dict[str, list[float]], name: str) -> float:
    pairs = zip(seconds["stock"], seconds[name], strict=True)
    return round(statistics.median(stock / fast for stock, fast in pairs), 2)


def _relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float(f"{((actual - expected).norm() / expected.norm()).item():.3g}")


@torch.inference_mode()
def _mask_iou(network: torch.nn.Module, first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean IoU, over points, of the masks decoded from two embeddings.

    The random decoder's logits have an arbitrary offset, so that masks are cut at the median of the first's.
    """
    ious = []
    for point in _POINTS:
        coords = torch.tensor([[point]], device=first.device)
        labels = torch.ones((1, 1), device=first.device)
        sparse, dense = network.prompt_encoder(points=(coords, labels), boxes=None, masks=None)
        pe = network.prompt_encoder.get_dense_pe()
        logits = [network.mask_decoder(e, pe, sparse, dense, multimask_output=False)[0] for e in (first, second)]
        masks = [value > logits[0].median() for value in logits]
        ious.append(((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()).item())
    return round(statistics.mean(ious), 4)


if __name__ == "__main__":
    main()
