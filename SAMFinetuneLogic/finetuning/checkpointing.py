"""Trading time for memory: blocks of the encoder are computed anew on the way back."""

from collections.abc import Callable, Iterator, Mapping
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
    with replaced_forwards({block: _recomputed(block.forward) for block in blocks}):
        yield len(blocks)


@contextmanager
def replaced_forwards(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Within the block, modules compute as given; afterwards as before, also where they had been replaced already."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, earlier in before.items():
            if earlier is None:
                del module.__dict__["forward"]
            else:
                module.forward = earlier


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        return checkpoint(forward, *arguments, use_reentrant=False, **named)

    return call
