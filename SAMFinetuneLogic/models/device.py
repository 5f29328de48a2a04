"""Where the network runs, and in which precision."""

import platform
import sys
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from SAMFinetuneLogic.errors import ModelError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_BF16_UNITS = {"amx_bf16", "avx512_bf16", "bf16"}


def choose_device(name: str = "auto") -> torch.device:
    """The device to use.

    Args:
        name: "auto" takes CUDA, else MPS, else the CPU; or a torch device name ("cpu", "cuda", "cuda:1", "mps").

    Raises:
        ModelError: the name is unknown or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"'{name}' is not a device: use auto, cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ModelError(
                "A CUDA device was asked for, but torch sees none: use --device auto or cpu, "
                "or install a CUDA build of torch and the GPU's driver."
            )
        index = torch.cuda.current_device() if device.index is None else device.index
        if index >= count:
            raise ModelError(f"There is no device {name}: this machine has {count} CUDA device(s), counted from 0.")
        return torch.device("cuda", index)
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ModelError("The Apple GPU (mps) was asked for, but torch sees none: use --device auto or cpu.")
        return torch.device("mps")
    if device.type != "cpu":
        raise ModelError(f"Devices of type '{device.type}' are not supported: use auto, cpu, cuda, cuda:N or mps.")
    return torch.device("cpu")


def choose_precision(device: torch.device, name: str = "auto", gains_on_cpu: bool = True) -> Precision:
    """The precision of the image encoder.

    Args:
        name: "auto", "fp32", "bf16" or "fp16".
        gains_on_cpu: False for encoders too small to gain from half precision on a CPU.

    Raises:
        ModelError: the name is unknown, or the device cannot compute in that precision.
    """
    if name == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
        return "bf16" if device.type == "cpu" and gains_on_cpu and cpu_has_bf16_units() else "fp32"
    for precision in DTYPES:
        if name == precision:
            if precision == "fp16" and device.type == "cpu":
                raise ModelError("fp16 is not available on the CPU: use --precision auto, bf16 or fp32.")
            return precision
    raise ModelError(f"'{name}' is not a precision: use auto, fp32, bf16 or fp16.")


def gains_from_half_on_cpu(backbone: str) -> bool:
    """Whether an encoder consists of large matrix products. The small ones are bound by memory and overheads."""
    return backbone in ("vit_b", "vit_l", "vit_h")


@cache
def cpu_has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (AMX or AVX-512 BF16 on x86, BF16 on Arm).

    A capability, not a timing: the same machine gives the same answer, hence the same embeddings, under any load.
    torch's own general check ("is bf16 supported") also says yes to CPUs that emulate it slowly.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if any(capabilities.get(name) is True for name in _BF16_UNITS):
        return True
    return bool(_BF16_UNITS & _linux_cpu_flags())


def describe_device(device: torch.device, precision: Precision) -> str:
    """A few words for the user: "NVIDIA A100 (cuda:0), bf16" or "CPU, 4 threads, fp32"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device}), {precision}"
    if device.type == "mps":
        return f"Apple GPU (mps), {precision}"
    return f"CPU ({platform.machine() or 'unknown'}), {torch.get_num_threads()} threads, {precision}"


def _linux_cpu_flags() -> set[str]:
    if sys.platform != "linux":
        return set()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    for line in lines:
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(values.split())
    return set()


def release_cached(device: torch.device) -> None:
    """Give back what PyTorch holds without using it. Call it where the failed pass's tensors are free."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
