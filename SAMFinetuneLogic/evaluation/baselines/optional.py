"""Libraries that only the baselines need."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from SAMFinetuneLogic.errors import InputError

_PACKAGES = {
    "skimage": "scikit-image",
    "cv2": "opencv-python-headless",
    "itk": "itk-morphologicalcontourinterpolation",
    "slicer": "slicer-core",
    "vtk": "vtk",
    "monai": "monai",
}


def optional_module(name: str) -> Any:
    """Import a module of a library that is not among the package's requirements.

    Raises:
        InputError: it is not installed.
    """
    with explained(name):
        return import_module(name)


@contextmanager
def kept_out(name: str) -> Iterator[None]:
    """Within the block, a library that is not imported yet cannot be: another would take it along at will."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say what to do where the module ``name`` cannot be imported.

    Raises:
        InputError: instead of an ImportError.
    """
    try:
        yield
    except ImportError as error:
        package = _PACKAGES[name.partition(".")[0]]
        raise InputError(
            f"The baselines need {package}: install it with pip, or the extra SAMFinetune[evaluation], or leave the "
            f"baselines out with --no-baselines."
        ) from error
