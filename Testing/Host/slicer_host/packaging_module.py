"""``slicer.packaging``, the part used: it reads, checks and asks as Slicer's; what is "missing" is up to the test.

Follows ``Base/Python/slicer/packaging.py`` of Slicer 5.12. Nothing is installed; a failure is one of a real pip.
"""

import importlib.metadata
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import Requirement


def run_pip(arguments: list[str]) -> None:
    """A real pip in a process of its own, told to change nothing; its lines are printed, as Slicer does.

    Raises:
        subprocess.CalledProcessError: it failed. As in Slicer, that holds no more than the exit code.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    if done.returncode != 0:
        raise subprocess.CalledProcessError(done.returncode, "pip install")


class Packaging(types.ModuleType):
    """The module.

    Attributes:
        missing: names of packages that :meth:`pip_check` does not find.
        accepts: the user's answer to the question whether to install.
        asks_pip_for: if not empty, a real pip is asked for this instead.
        during: called while packages are "installed".
        installed: what each installation was asked for.
        constraints: the text of the constraints of the last one.
    """

    def __init__(self) -> None:
        super().__init__("slicer.packaging")
        self.installed: list[list[str]] = []
        self.reset()

    def reset(self) -> None:
        """Nothing is missing, and the user says yes."""
        self.missing: set[str] = set()
        self.accepts = True
        self.asks_pip_for: list[str] = []
        self.during: Callable[[], None] = lambda: None
        self.constraints = ""
        self.installed.clear()

    def load_requirements(self, path: str | Path) -> list[Requirement]:
        lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
        return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]

    def pip_check(self, req: str | Requirement | list[str | Requirement]) -> bool:
        return all(self._satisfied(entry) for entry in _requirements(req))

    def pip_ensure(
        self,
        requirements: str | Requirement | list[str | Requirement],
        constraints: str | Path | None = None,
        skip_packages: list[str] | None = None,
        prompt_install: bool = True,
        prompt_restart: bool = True,
        requester: str | None = None,
        skip_in_testing: bool = True,
        show_progress: bool = True,
    ) -> list[str] | None:
        lacking = [str(entry) for entry in _requirements(requirements) if not self.pip_check(entry)]
        if not lacking or (skip_in_testing and slicer.app.testingEnabled()):
            return None
        if prompt_install and not self.accepts:
            raise RuntimeError("User declined package installation")
        self.during()
        if self.asks_pip_for:
            run_pip(self.asks_pip_for + ([] if constraints is None else ["-c", str(constraints)]))
        self.constraints = "" if constraints is None else Path(constraints).read_text(encoding="utf-8")
        self.installed.append(lacking)
        self.missing.clear()
        return None

    def _satisfied(self, requirement: Requirement) -> bool:
        if requirement.marker is not None and not requirement.marker.evaluate():
            return True
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        return requirement.name not in self.missing and installed in requirement.specifier


def _requirements(given: Any) -> list[Requirement]:
    if isinstance(given, str):
        given = [given]
    elif isinstance(given, Requirement):
        return [given]
    elif not isinstance(given, list):
        raise TypeError(f"Expected str, Requirement, or list, got {type(given).__name__}")
    return [Requirement(entry) if isinstance(entry, str) else entry for entry in given]
