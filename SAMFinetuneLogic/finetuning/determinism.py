"""The same seed, the same result."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def same_numbers_each_time() -> Iterator[None]:
    """Within the block a GPU's convolutions add up in the same order each time, where it can; afterwards as before."""
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
