"""Single options of a strategy as the user writes them: ``rank=16``, ``dora=true``, ``projections=q,v``. No torch."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from SAMFinetuneLogic.finetuning.strategy import Algorithm, Components, Mode, Strategy
from SAMFinetuneLogic.named_values import parse_named

_TYPES = {field.name: field.type for field in fields(Strategy)}
_OF_ALGORITHM = {
    "vanilla": (),
    "adapter": ("adapter_ratio", "zero_init", "whole", "whole_rate"),
    "lora": ("rank", "alpha", "rslora", "dora", "projections", "convolutions", "whole", "whole_rate"),
}


def options_for(algorithm: Algorithm, components: Components, mode: Mode) -> tuple[str, ...]:
    """The names of the options that change anything."""
    names = ["learning_rate", "weight_decay", "decay_all", *_OF_ALGORITHM[algorithm]]
    if components == "encoder_decoder":
        names += ["frozen_fraction", *(["layer_decay"] if algorithm == "vanilla" else [])]
    if mode == "automatic":
        names += ["automatic_rate", "background"]
    return tuple(names)


def parse_options(
    texts: Sequence[str], algorithm: Algorithm, components: Components, mode: Mode = "prompts"
) -> dict[str, Any]:
    """Changes for :meth:`Strategy.of`.

    Args:
        texts: each NAME=VALUE; of several values of one name, the last one counts.

    Raises:
        InputError: no such option, one that would change nothing here, or a value that cannot be read.
    """
    known = {name: _TYPES[name] for name in options_for(algorithm, components, mode)}
    found = parse_named(texts, known, "strategy")
    if "projections" in found:
        found["projections"] = tuple(part.strip() for part in found["projections"].split(","))
    return found
