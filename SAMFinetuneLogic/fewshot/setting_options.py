"""The less usual choices of a fit as the user writes them: ``prototypes=8``, ``anchored=no``. Knows no torch."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from SAMFinetuneLogic.fewshot.settings import DenseInput, FitSettings, TargetPooling
from SAMFinetuneLogic.named_values import parse_named

_TYPES = {field.name: field.type for field in fields(FitSettings)}


def options_for(targets: TargetPooling, dense: DenseInput) -> tuple[str, ...]:
    """The names of the settings without an option of their own on the command line that change anything."""
    names = ["batch", "learning_rate", "weight_decay", "hold_out_from", "patience"]
    if dense != "none":
        names = ["anchored", "blind", *names]
    return ("prototypes", *names) if "prototypes" in (targets, dense) else tuple(names)


def parse_settings(texts: Sequence[str], targets: TargetPooling, dense: DenseInput) -> dict[str, Any]:
    """Changes of :class:`FitSettings`.

    Args:
        texts: each NAME=VALUE; of several values of one name, the last one counts.

    Raises:
        InputError: no such setting, one that would change nothing here, or a value that cannot be read.
    """
    known = {name: _TYPES[name] for name in options_for(targets, dense)}
    return parse_named(texts, known, "fit")
