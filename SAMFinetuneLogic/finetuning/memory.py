"""What training does when a device's memory runs out."""

CHECKPOINTING_IS_ON = "Memory ran out on a single slice: checkpointing is on from here, which takes more time."


def smaller_parts(parts: int, size: int) -> tuple[int, str]:
    """A batch of ``size`` slices in twice as many parts, and the sentence that says so."""
    parts = min(size, 2 * parts)
    return parts, f"Memory ran out: the batch of {size} slices now goes through in {parts} parts."
