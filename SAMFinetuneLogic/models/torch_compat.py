"""The one place that imports ``segment_anything``, and torchvision.

``segment_anything`` imports torchvision for four functions of its automatic mode and its predictor, which this package
does not use. torchvision takes most of a second to load, since it loads torch's compiler: it is loaded when one of the
four is called, or when somebody else needs it.

PyPI's torchvision has no build for a CPU-only torch: its compiled operators cannot be loaded, and ``import
torchvision`` stops because it describes two of them (``nms``, ``qnms``) to torch's compiler. Declaring the two schemas,
without any implementation, lets the import pass.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch

from SAMFinetuneLogic.errors import ModelError

_MISSING_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_NEEDED = {
    "torchvision.transforms.functional": ("resize", "to_pil_image"),
    "torchvision.ops.boxes": ("batched_nms", "box_area"),
}
"""By module, what ``segment_anything`` takes from torchvision."""

_schema_library: torch.library.Library | None = None  # a library's declarations end when it is collected


@cache
def import_segment_anything() -> ModuleType:
    """The ``segment_anything`` package, with its ``modeling`` subpackage loaded.

    Raises:
        ModelError: segment_anything or torchvision is not installed.
    """
    try:
        with _torchvision_on_call():
            module = importlib.import_module("segment_anything")
            importlib.import_module("segment_anything.modeling")
    except ImportError as error:
        raise ModelError(
            f"The Python package {error.name or 'segment_anything'} cannot be imported ({error}): "
            "install the requirements of SAMFinetune first."
        ) from error
    return module


def import_torchvision() -> None:
    """Make torchvision importable, for packages such as peft that import it themselves.

    Raises:
        ImportError: it is not installed.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_missing_operators()
        importlib.import_module("torchvision")


def _declare_missing_operators() -> None:
    global _schema_library
    if _schema_library is None:
        _schema_library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _MISSING_SCHEMAS:
            _schema_library.define(schema)


@contextmanager
def _torchvision_on_call() -> Iterator[None]:
    """Whoever takes one of the needed functions meanwhile gets one that loads torchvision when it is called."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        yield
        return
    stand_ins: dict[str, ModuleType] = {}
    for path, functions in _NEEDED.items():
        parts = path.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            stand_ins.setdefault(name, ModuleType(name)).__path__ = []
        for function in functions:
            setattr(stand_ins[path], function, _on_call(path, function))
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def _on_call(path: str, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        import_torchvision()
        return getattr(importlib.import_module(path), name)(*arguments, **named)

    return call
