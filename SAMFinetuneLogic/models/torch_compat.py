"""The one place that imports ``segment_anything``.

``segment_anything`` imports torchvision, of which it needs only the Python transforms. PyPI's torchvision
has no build for a CPU-only torch: its compiled operators cannot be loaded, and ``import torchvision`` stops
because it describes two of them (``nms``, ``qnms``) to torch's compiler. Declaring the two schemas,
without any implementation, lets the import pass.
"""

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

from SAMFinetuneLogic.errors import ModelError

_MISSING_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_schema_library: torch.library.Library | None = None  # a library's declarations end when it is collected


@cache
def import_segment_anything() -> ModuleType:
    """The ``segment_anything`` package, with its ``modeling`` subpackage loaded.

    Raises:
        ModelError: segment_anything or torchvision is not installed.
    """
    try:
        _import_torchvision()
        module = importlib.import_module("segment_anything")
        importlib.import_module("segment_anything.modeling")
    except ImportError as error:
        raise ModelError(
            f"The Python package {error.name or 'segment_anything'} cannot be imported ({error}): "
            "install the requirements of SAMFinetune first."
        ) from error
    return module


def _import_torchvision() -> None:
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
