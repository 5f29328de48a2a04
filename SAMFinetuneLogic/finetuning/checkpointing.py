"""Trading time for memory: blocks of the encoder are computed anew on the way back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def encoder_blocks(encoder: nn.Module) -> list[nn.Module]:
    """The repeated blocks of an image encoder: the members of its lists and sequences, outermost ones only."""
    blocks: list[nn.Module] = []
    for child in encoder.children():
        if isinstance(child, nn.ModuleList | nn.Sequential) and len(child) > 1:
            blocks += list(child)
    return blocks


@contextmanager
def checkpointed(encoder: nn.Module, wanted: bool = True) -> Iterator[int]:
    """Within the block, the encoder's blocks keep only their inputs. Yields how many blocks there are.

    Results stay the same: the blocks hold no dropout that would be drawn anew, and the random state is restored.
    """
    blocks = encoder_blocks(encoder) if wanted else []
    for block in blocks:
        block.forward = _recomputed(block.forward)
    try:
        yield len(blocks)
    finally:
        for block in blocks:
            del block.__dict__["forward"]


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        return checkpoint(forward, *arguments, use_reentrant=False, **named)

    return call
