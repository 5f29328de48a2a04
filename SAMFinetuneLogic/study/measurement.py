"""What was measured of a cell. Knows no torch."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """What a cell's process found.

    Attributes:
        dice: mean over the classes, background left out.
        by_class: each class's name and Dice.
        parameters: that were trained.
        steps: of training that were taken.
        seconds: of training; scoring and loading left out.
        memory: largest resident size of the process in bytes.
        gpu_memory: largest size of all tensors on the GPU in bytes; None without one.
        train, test: numbers of slices.
    """

    dice: float
    by_class: dict[str, float]
    parameters: int
    steps: int
    seconds: float
    memory: int
    gpu_memory: int | None
    train: int
    test: int

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Measurement":
        """The inverse of :meth:`to_dict`; TypeError or KeyError for something else."""
        found = cls(**{field.name: content[field.name] for field in fields(cls)})
        float(found.dice), float(found.seconds)
        return found
