"""How a volume is to be filled in."""

from dataclasses import dataclass
from typing import Literal

from SAMFinetuneLogic.errors import InputError

Direction = Literal["forward", "backward"]
Method = Literal["auto", "interpolate", "propagate", "fewshot"]
METHODS: tuple[Method, ...] = ("auto", "interpolate", "propagate", "fewshot")


@dataclass(frozen=True)
class PropagationOptions:
    """How to fill in a volume.

    Attributes:
        axis: of the annotated slices, by any of its names; one axis a run.
        slices: the annotated ones; a segment that is missing from one of them is absent there. None takes all slices
            on which anything is drawn, and nothing as a negative.
        values: the segments to continue; None for all. The others are kept as they are.
        first, last: where the structures begin and end, for who knows; None leaves that to the evidence.
        method: "interpolate": the outline alone; "propagate": the network from slice to slice; "fewshot": the
            few-shot decoder; "auto": the outline, corrected by gray values, and the network, weighted by what they are
            worth on the annotated slices; without a model it does without the network. Where a method has nothing to
            say on a slice, the outline stands in.
        direction: "both"; "forward" fills only what lies above an annotated slice, "backward" what lies below.
        learn: with "auto", let the few-shot decoder have its say too; fitting it takes up to minutes on a CPU.
        adapt: with "auto", train a small network on the annotated slices that corrects what the others say together.
            From several slices it learns what they say of each one that is left out, which takes ``measure``; from a
            single slice to mend errors made at random. Up to half a minute a segment on a laptop's CPU.
        measure: leave annotated slices out, for weights and the estimate.
        jitter: ask the network again with moved prompts, to see how sure it is, where it has a say at all.
    """

    axis: str = "k"
    slices: tuple[int, ...] | None = None
    values: tuple[int, ...] | None = None
    first: int | None = None
    last: int | None = None
    method: Method = "auto"
    direction: Literal["both"] | Direction = "both"
    learn: bool = False
    adapt: bool = True
    measure: bool = True
    jitter: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"Unknown method {self.method!r}; use one of {', '.join(METHODS)}.")
        if self.direction not in ("both", "forward", "backward"):
            raise InputError(f"Unknown direction {self.direction!r}; use both, forward or backward.")
