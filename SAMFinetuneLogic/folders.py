"""The folders of this program on a computer, for each system where its users look for them.

The environment variable ``SAMFINETUNE_HOME`` names one folder for everything.
"""

import os
import sys
from pathlib import Path


def data_home() -> Path:
    """The folder for what the user wants to keep: jobs and their adapters, collections, downloaded models."""
    return _home("XDG_DATA_HOME", (".local", "share"), ("Library", "Application Support"))


def cache_home() -> Path:
    """The folder for what can be computed again, which cleaners empty and backups leave out: embeddings.

    Earlier versions kept everything in it, see :func:`homes`.
    """
    return _home("XDG_CACHE_HOME", (".cache",), ("Library", "Caches"))


def homes() -> tuple[Path, ...]:
    """Where to look for what the user keeps: the folder of today, and the one of earlier versions if it is another.

    What lies in the earlier one is read, and neither moved nor changed.
    """
    return tuple(dict.fromkeys((data_home(), cache_home())))


def _home(variable: str, on_linux: tuple[str, ...], on_mac: tuple[str, ...]) -> Path:
    """The folder that is named after the program; ``variable`` is of the XDG base directory specification."""
    override = os.environ.get("SAMFINETUNE_HOME")
    if override:
        return Path(override).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "SAMFinetune"
    if sys.platform == "darwin":
        return home.joinpath(*on_mac, "SAMFinetune")
    return Path(os.environ.get(variable) or home.joinpath(*on_linux)) / "samfinetune"
