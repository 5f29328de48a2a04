"""``PyTorchUtils``, the part used: on a computer without PyTorch, its installation declined or accepted.

PyTorch is installed where the tests run. While it is "missing" here, this process does not find it, and a child finds
a package in its place that cannot be imported.
"""

import importlib.util
import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "torchvision")


class MissingTorch:
    """Takes PyTorch away, until the user accepts its installation or :meth:`restore` is called.

    Args:
        folder: an empty one, for what children find.

    Attributes:
        accepts: the user's answer to the question whether to install.
        asked: how often that was asked.
    """

    def __init__(self, folder: Path) -> None:
        self.accepts = False
        self.asked = 0
        self._folder = folder / "without_torch"
        self._find_spec = importlib.util.find_spec
        self._path = os.environ.get("PYTHONPATH")
        for name in _PACKAGES:
            package = self._folder / name
            package.mkdir(parents=True)
            text = f'raise ModuleNotFoundError("No module named {name!r}", name="{name}")\n'
            (package / "__init__.py").write_text(text, encoding="utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self._folder), self._path)))
        importlib.util.find_spec = self._find
        extension = types.ModuleType("PyTorchUtils")
        extension.PyTorchUtilsLogic = lambda: self
        sys.modules["PyTorchUtils"] = extension

    def installTorch(self, askConfirmation: bool = False) -> Any:
        """As the extension's logic: the package, or None if the user declines."""
        if askConfirmation:
            self.asked += 1
            if not self.accepts:
                return None
        self._bring_back()
        return types.ModuleType("torch")  # what is returned is not used: the model lives in another process

    def restore(self) -> None:
        """Everything as it was, the extension gone."""
        self._bring_back()
        sys.modules.pop("PyTorchUtils", None)

    def _bring_back(self) -> None:
        importlib.util.find_spec = self._find_spec
        if self._path is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = self._path
        shutil.rmtree(self._folder, ignore_errors=True)

    def _find(self, name: str, package: str | None = None) -> Any:
        return None if name in _PACKAGES else self._find_spec(name, package)
