"""Single options of a strategy as the user writes them: ``rank=16``, ``dora=true``, ``projections=q,v``. No torch."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.strategy import Algorithm, Components, Mode, Strategy

_TYPES = {field.name: field.type for field in fields(Strategy)}
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
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
    known = options_for(algorithm, components, mode)
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in known:
            raise InputError(
                f"'{text}' is no option of this strategy; write NAME=VALUE with one of {', '.join(known)}."
            )
        found[name] = _value(name, value)
    return found


def _value(name: str, text: str) -> Any:
    kind = _TYPES[name]
    try:
        if kind is bool:
            return _WORDS[text.lower()]
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except (KeyError, ValueError):
        expected = "true or false" if kind is bool else "a whole number" if kind is int else "a number"
        raise InputError(f"The strategy's {name} cannot be '{text}'; give {expected}.") from None
    return tuple(part.strip() for part in text.split(",")) if name == "projections" else text
