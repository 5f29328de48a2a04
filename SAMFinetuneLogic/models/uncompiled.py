"""Functions that ``torch.compile`` leaves alone, without the second that loading torch's compiler takes."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def uncompiled(function: Function) -> Function:
    """As ``torch.compiler.disable``, which loads the compiler where it decorates: in each process, used or not.

    Here the compiler is asked to leave the function alone once it has been loaded by whoever compiles. Who loads it
    before this module gets torch's own decorator, at which the compiler does not look twice.
    """
    if "torch._dynamo" in sys.modules:
        import torch

        return torch.compiler.disable(function)
    kept_out: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*arguments, **named)
        if not kept_out:
            import torch

            kept_out.append(torch.compiler.disable(function))
        return kept_out[0](*arguments, **named)

    return call  # type: ignore[return-value]
