"""What has to be installed, and installing it when the user asks for it."""

import importlib.metadata
import importlib.util
import inspect
import os
import platform
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import slicer.packaging
from packaging.version import InvalidVersion, Version

from SAMFinetuneLogic.errors import SAMFinetuneError

TORCH = {"torch": ">=2.6", "torchvision": ">=0.21"}
"""What the PyTorch extension installs, and which versions serve: peft brings transformers, which refuses older ones."""

KEPT = ("numpy", "scipy", "SimpleITK", "Pillow", "requests", "packaging", "vtk", *TORCH)
"""What no installation of ours may replace, as far as it is there: Slicer brought it, or has loaded it."""

_INTEL_MAC = (
    "PyTorch has no current release for this build of Slicer (macOS, x86_64): use Slicer's build for Apple processors "
    "(arm64), or another computer."
)
_PUT_RIGHT = 'uninstall it in the module "PyTorch Utils", restart Slicer, and install it here.'


class InstallError(SAMFinetuneError):
    """Packages could not be installed; nothing of the scene is touched."""


class Dependencies:
    """PyTorch through the PyTorch extension, the rest through Slicer's own installer.

    Args:
        requirements: the module's ``requirements-slicer.txt``.
    """

    def __init__(self, requirements: Path) -> None:
        self._requirements = requirements

    def missing(self) -> tuple[str, ...]:
        """Names of what is not installed in a version that serves; nothing is imported for that."""
        names = [name for name in TORCH if not _serves(name)]
        wanted = slicer.packaging.load_requirements(self._requirements)
        names += [requirement.name for requirement in wanted if not slicer.packaging.pip_check(requirement)]
        return tuple(names)

    def obstacle(self) -> str:
        """Why PyTorch cannot be installed as things are, and what to do; empty if it can be, or is installed."""
        lacking = [name for name in TORCH if not _serves(name)]
        if lacking and sys.platform == "darwin" and platform.machine() == "x86_64":
            return _INTEL_MAC
        for name in lacking:
            version = _version(name)
            if version is not None and slicer.packaging.pip_check(name + TORCH[name]):
                return f"Files of {name} {version} are missing: {_PUT_RIGHT}"
            if version is not None:
                needed = TORCH[name].removeprefix(">=")
                return f"{name} {version} is installed, and {needed} or newer is needed: {_PUT_RIGHT}"
        return ""

    def install(self) -> None:
        """Install what is missing, and keep the versions of :data:`KEPT`. Slicer asks first, and shows its progress.

        No process of ours may be running: Windows cannot replace a file that is in use.

        Raises:
            InstallError: there is an :meth:`obstacle`, the PyTorch extension is missing, the user declined, or pip
                failed; pip's reason is part of the sentence.
        """
        if obstacle := self.obstacle():
            raise InstallError(obstacle)
        with tempfile.TemporaryDirectory(prefix="samfinetune-pip-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            if not all(_serves(name) for name in TORCH):
                # The extension takes no constraints. As a URI: pip divides what the variable holds at its blanks.
                with _pip(folder / "torch.log", PIP_CONSTRAINT=_constraints(folder).as_uri()):
                    _install_torch()
            with _pip(folder / "packages.log"):
                slicer.packaging.pip_ensure(
                    slicer.packaging.load_requirements(self._requirements),
                    constraints=_constraints(folder),
                    requester="SAMFinetune",
                    skip_in_testing=False,
                )


def is_importable(name: str) -> bool:
    """Whether a package is there; an empty folder, left over when it was removed, is none. Nothing is imported."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _serves(name: str) -> bool:
    if _version(name) is None or not is_importable(name):
        return False
    return bool(slicer.packaging.pip_check(name + TORCH[name]))


def _version(name: str) -> str | None:
    """The installed version; None without one that pip can read."""
    try:
        return str(Version(importlib.metadata.version(name)))
    except (importlib.metadata.PackageNotFoundError, InvalidVersion, TypeError):  # TypeError: an empty dist-info
        return None


def _constraints(folder: Path) -> Path:
    path = folder / "constraints.txt"
    lines = [f"{name}=={version}\n" for name in KEPT if (version := _version(name)) is not None]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _install_torch() -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        raise InstallError(
            "The PyTorch extension is missing: install it with Slicer's Extensions Manager and restart Slicer."
        ) from error
    logic: Any = PyTorchUtils.PyTorchUtilsLogic()
    known = inspect.signature(logic.installTorch).parameters  # older ones do not take torchvision's version
    wanted = {f"{name}VersionRequirement": versions for name, versions in TORCH.items()}
    if logic.installTorch(askConfirmation=True, **{key: wanted[key] for key in wanted if key in known}) is None:
        raise InstallError(
            "PyTorch was not installed, so prompts are not answered: press the button again when you are ready."
        )


@contextmanager
def _pip(log: Path, **variables: str) -> Iterator[None]:
    """Whoever runs pip within has these variables, and its failure is an :class:`InstallError` in pip's own words.

    Slicer raises no more than the exit code; pip itself writes what it says into the file that PIP_LOG names. All of
    that holds for light-the-torch, by which the PyTorch extension installs: it is pip with other indexes.
    """
    variables["PIP_LOG"] = str(log)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    except InstallError:
        raise
    except Exception as error:
        raise InstallError(_failure(error, log)) from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        importlib.invalidate_caches()


def _failure(error: Exception, log: Path) -> str:
    if "declined" in str(error):  # Slicer has no exception of its own for that
        return "Nothing was installed: press the button again when you are ready."
    said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    reasons = re.findall(r"^\S+ +ERROR: (.+)$", said, re.MULTILINE)
    reason = textwrap.shorten(reasons[0] if reasons else str(error), 300, placeholder=" ...").rstrip(".")
    if "connection broken" in said:
        return f"The installation did not succeed: {reason}. Check the connection, and try again."
    return f"The installation did not succeed: {reason}. Mend that, and try again; the Python console shows the rest."
