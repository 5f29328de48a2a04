"""How to start Python beside Slicer: its own interpreter, with the package on its path."""


def python_command() -> list[str]:
    """The interpreter: PythonSlicer in Slicer, where ``sys.executable`` is Slicer itself."""
    from SAMFinetuneLogic.worker.process import python_executable  # brings scipy, too slow for opening the module

    return [python_executable()]


def python_environment() -> dict[str, str]:
    """The environment with the package's parent folder on the path and text in UTF-8."""
    from SAMFinetuneLogic.worker.process import child_environment

    return child_environment()
