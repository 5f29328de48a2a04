"""Options that the user writes as NAME=VALUE."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from SAMFinetuneLogic.errors import InputError

_WORDS = {"true": True, "yes": True, "false": False, "no": False}


def parse_named(texts: Sequence[str], known: Mapping[str, object], owner: str) -> dict[str, Any]:
    """Values by name; of several values of one name, the last one counts.

    Args:
        texts: each NAME=VALUE.
        known: the names that mean something here, with the type of their values; others than bool, int and float stay
            text.
        owner: whose options they are, as "strategy", for messages.

    Raises:
        InputError: no such option, or a value that cannot be read.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in known:
            raise InputError(f"'{text}' is no option of this {owner}; write NAME=VALUE with one of {', '.join(known)}.")
        found[name] = _value(name, value, known[name], owner)
    return found


def _value(name: str, text: str, kind: object, owner: str) -> Any:
    try:
        if kind is bool:
            return _WORDS[text.lower()]
        if kind is int:
            return int(text)
        if kind is float:
            number = float(text)
            if not isfinite(number):
                raise ValueError
            return number
    except (KeyError, ValueError):
        expected = "true or false" if kind is bool else "a whole number" if kind is int else "a number"
        raise InputError(f"The {owner}'s {name} cannot be '{text}'; give {expected}.") from None
    return text
