"""``PyTorchUtils``, the part used: on a computer without PyTorch, its installation declined or accepted.

PyTorch is installed where the tests run. While it is "missing" here, this process does not find it, and a child finds
a package in its place that cannot be imported. The logic's method has the arguments of the extension's of 2023 and
later (github.com/fepegar/SlicerPyTorch, ``PyTorchUtils/PyTorchUtils.py``).
"""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import types
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from slicer_host.packaging_module import run_pip

_PACKAGES = ("torch", "torchvision")


def put_package(folder: Path, name: str, version: str) -> None:
    """A package of another version, found in its place as soon as the folder leads ``sys.path``."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


class MissingTorch:
    """Takes PyTorch away, until the user accepts its installation or :meth:`restore` is called.

    Args:
        folder: an empty one, for what children find.
        left: what is left of it: "nothing"; "folder", an empty one; or "metadata", without the package.

    Attributes:
        accepts: the user's answer to the question whether to install.
        asked: how often that was asked.
        versions: what the last installation was asked for.
        constraints: the text of what pip was to keep to in it.
        asks_pip_for: if not empty, a real pip is asked for this instead.
        during: called while it is "installed".
    """

    def __init__(self, folder: Path, left: str = "nothing") -> None:
        self.accepts = False
        self.asked = 0
        self.versions: tuple[str | None, str | None] = (None, None)
        self.constraints = ""
        self.asks_pip_for: list[str] = []
        self.during: Callable[[], None] = lambda: None
        self._folder, self._left = folder / "without_torch", left
        self._find_spec, self._from_name = importlib.util.find_spec, importlib.metadata.Distribution.from_name
        self._path = os.environ.get("PYTHONPATH")
        for name in _PACKAGES:
            package = self._folder / name
            package.mkdir(parents=True)
            (folder / "left" / name).mkdir(parents=True)
            text = f'raise ModuleNotFoundError("No module named {name!r}", name="{name}")\n'
            (package / "__init__.py").write_text(text, encoding="utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self._folder), self._path)))
        importlib.util.find_spec = self._find
        if left != "metadata":
            importlib.metadata.Distribution.from_name = self._find_metadata
        extension = types.ModuleType("PyTorchUtils")
        extension.PyTorchUtilsLogic = lambda: self
        sys.modules["PyTorchUtils"] = extension

    def installTorch(
        self,
        askConfirmation: bool = False,
        forceComputationBackend: str | None = None,
        torchVersionRequirement: str | None = None,
        torchvisionVersionRequirement: str | None = None,
    ) -> Any:
        """As the extension's logic: the package, or None if the user declines."""
        if askConfirmation:
            self.asked += 1
            if not self.accepts:
                return None
        self.versions = (torchVersionRequirement, torchvisionVersionRequirement)
        kept = Path(url2pathname(urlsplit(os.environ.get("PIP_CONSTRAINT", "")).path))
        self.constraints = kept.read_text(encoding="utf-8") if kept.is_file() else ""
        self.during()
        if self.asks_pip_for:
            run_pip(self.asks_pip_for)
        self._bring_back()
        return types.ModuleType("torch")  # what is returned is not used: the model lives in another process

    def restore(self) -> None:
        """Everything as it was, the extension gone."""
        self._bring_back()
        sys.modules.pop("PyTorchUtils", None)

    def _bring_back(self) -> None:
        importlib.util.find_spec, importlib.metadata.Distribution.from_name = self._find_spec, self._from_name
        if self._path is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = self._path
        shutil.rmtree(self._folder, ignore_errors=True)

    def _find(self, name: str, package: str | None = None) -> Any:
        if name not in _PACKAGES:
            return self._find_spec(name, package)
        left = str(self._folder.parent / "left")
        return PathFinder.find_spec(name, [left]) if self._left == "folder" else None

    def _find_metadata(self, name: str) -> Any:
        if name in _PACKAGES:
            raise importlib.metadata.PackageNotFoundError(name)
        return self._from_name(name)
