"""What has to be installed, and installing it when the user asks for it."""

import importlib.util
from pathlib import Path
from typing import Any

import slicer
import slicer.packaging

from SAMFinetuneLogic.errors import SAMFinetuneError


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
        """Names of what is not installed; nothing is imported for that."""
        names = [name for name in ("torch", "torchvision") if importlib.util.find_spec(name) is None]
        wanted = slicer.packaging.load_requirements(self._requirements)
        names += [requirement.name for requirement in wanted if not slicer.packaging.pip_check(requirement)]
        return tuple(names)

    def install(self) -> None:
        """Install what is missing. Slicer asks before it does, and shows its progress.

        Raises:
            InstallError: the PyTorch extension is missing, the user declined, or pip failed.
        """
        try:
            if importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None:
                self._install_torch()
            slicer.packaging.pip_ensure(
                slicer.packaging.load_requirements(self._requirements), requester="SAMFinetune", skip_in_testing=False
            )
        except InstallError:
            raise
        except Exception as error:
            if "declined" in str(error):  # Slicer has no exception of its own for that
                raise InstallError("Nothing was installed: press the button again when you are ready.") from error
            raise InstallError(
                f"The installation did not succeed ({error}): check the connection and try again."
            ) from error
        importlib.invalidate_caches()

    @staticmethod
    def _install_torch() -> None:
        try:
            import PyTorchUtils
        except ImportError as error:
            raise InstallError(
                "The PyTorch extension is missing: install it with Slicer's Extensions Manager and restart Slicer."
            ) from error
        logic: Any = PyTorchUtils.PyTorchUtilsLogic()
        if logic.installTorch(askConfirmation=True) is None:
            raise InstallError(
                "PyTorch was not installed, so prompts are not answered: press the button again when you are ready."
            )
