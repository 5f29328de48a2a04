"""When a device's memory runs out."""

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether it was want of memory that raised this error, on any device."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return any(words in text for words in ("out of memory", "can't allocate memory", "not enough memory"))


def release_cached(device: torch.device) -> None:
    """Give back what PyTorch holds without using it. Call it where the failed pass's tensors are free."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def smaller_parts(parts: int, size: int) -> tuple[int, str]:
    """A batch of ``size`` slices in twice as many parts, and the sentence that says so."""
    parts = min(size, 2 * parts)
    return parts, f"Memory ran out: the batch of {size} slices now goes through in {parts} parts."
