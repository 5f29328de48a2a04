"""Reading coordinates and numbers from the command line."""

import argparse
import re
from collections.abc import Callable, Sequence

_LARGEST_SEED = 2**32 - 1
_NEGATIVE_VALUE = re.compile(r"-(\d|\.\d)")


def join_negative_values(argv: Sequence[str]) -> list[str]:
    """`--point -12.5,30,4` becomes `--point=-12.5,30,4`: argparse would take the value for an option."""
    joined: list[str] = []
    for word in argv:
        if _NEGATIVE_VALUE.match(word) and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def numbers(count: int, names: str) -> Callable[[str], tuple[float, ...]]:
    """A converter for argparse: ``count`` numbers separated by commas."""

    def convert(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count or not all(abs(value) < float("inf") for value in values):
            raise argparse.ArgumentTypeError(f"{text!r} is not {names}, {count} numbers separated by commas")
        return values

    return convert


def slice_numbers(text: str) -> tuple[int, ...]:
    """For argparse: numbers of slices separated by commas, each once, ascending."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of slice numbers such as 3,17,40")
    return tuple(found)


def positive(text: str) -> int:
    """For argparse: a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def seed(text: str) -> int:
    """For argparse: what random numbers begin with, as NumPy and PyTorch both take it."""
    if not text.isdecimal() or int(text) > _LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {_LARGEST_SEED}")
    return int(text)
