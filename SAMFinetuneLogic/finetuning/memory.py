"""What training does when a device's memory runs out."""

from typing import Protocol

from SAMFinetuneLogic.errors import ModelError

CHECKPOINTING_IS_ON = "Memory ran out on a single slice: checkpointing is on from here, which takes more time."


class Sparing(Protocol):
    """How a batch goes through the network: in how many parts, and with checkpointing or without."""

    accumulate: int
    checkpointing: bool


def use_less_memory(training: Sparing, size: int, instead: str, can_checkpoint: bool = True) -> str:
    """Smaller parts of a batch of ``size`` slices, then checkpointing; the sentence that says so.

    Args:
        instead: what else the user can do where neither is left.
        can_checkpoint: whether an encoder learns whose blocks could be computed anew.

    Raises:
        ModelError: a single slice does not fit.
    """
    if training.accumulate < size:
        training.accumulate = parts = min(size, 2 * training.accumulate)
        return f"Memory ran out: the batch of {size} slices now goes through in {parts} parts."
    if can_checkpoint and not training.checkpointing:
        training.checkpointing = True
        return CHECKPOINTING_IS_ON
    raise ModelError(f"There is not enough memory to train on a single slice: close other programs, {instead}.")
