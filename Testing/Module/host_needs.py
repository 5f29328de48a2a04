"""What the test host needs."""

import importlib.util

NEEDS = {"PySide6": "PySide6-Essentials", "slicer_core": "slicer-core"}


def missing() -> list[str]:
    """The names of the packages that are not installed."""
    return [package for name, package in NEEDS.items() if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # blocked on purpose
        return False
