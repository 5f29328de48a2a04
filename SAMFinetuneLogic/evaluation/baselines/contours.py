"""ITK's morphological contour interpolation, in a process of its own.

ITK's Python package, imported beside SimpleITK and VTK, aborts the interpreter at its exit. So a child process imports
it, once for a whole run since that takes seconds, and answers until its input ends. This file is both sides: the child
runs it as a module, and imports nothing else of this package.
"""

import atexit
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

_READY, _MISSING = "ready", "missing"


class ContourProcess:
    """The child process; one request at a time.

    Raises:
        ImportError: ITK or its module MorphologicalContourInterpolation is not installed.
    """

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": _search_path()}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        if (answer := self._answer()) != _READY:
            self.close()
            raise ImportError(answer or "ITK's process ended before it was ready")

    def interpolate(self, drawn: np.ndarray) -> np.ndarray:
        """Fill the slices between those that are drawn.

        Args:
            drawn: boolean (slices, rows, cols); empty slices are filled.

        Returns:
            The same shape.
        """
        assert self._process.stdin is not None
        with tempfile.TemporaryDirectory() as folder:
            source, result = Path(folder) / "drawn.npy", Path(folder) / "filled.npy"
            np.save(source, np.ascontiguousarray(drawn).astype(np.uint8))
            print(source, file=self._process.stdin, flush=True)
            print(result, file=self._process.stdin, flush=True)
            if (answer := self._answer()) != _READY:
                raise RuntimeError(f"ITK's contour interpolation failed: {answer or 'its process ended'}")
            filled: np.ndarray = np.load(result) > 0
        return filled

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@cache
def contour_process() -> ContourProcess:
    """The one process of this interpreter, started when it is first asked for and ended with it."""
    process = ContourProcess()
    atexit.register(process.close)
    return process


def _search_path() -> str:
    """With the folder that holds this package: it need not be installed."""
    package = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])


def _serve() -> None:
    """The child: reads two paths, a line each, and answers a line, until the input ends."""
    # ITK's own messages must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        import itk

        itk.MorphologicalContourInterpolator  # noqa: B018  # loaded when first named
    except (ImportError, AttributeError) as error:
        print(f"{_MISSING}: {error}".replace("\n", " "), file=answers, flush=True)
        return
    print(_READY, file=answers, flush=True)
    while (source := sys.stdin.readline().rstrip("\n")) and (result := sys.stdin.readline().rstrip("\n")):
        try:
            image = itk.image_from_array(np.load(source))
            np.save(result, itk.array_from_image(itk.morphological_contour_interpolator(image, axis=2)))
        except Exception as error:  # the parent says it
            print(f"{type(error).__name__}: {error}".replace("\n", " "), file=answers, flush=True)
        else:
            print(_READY, file=answers, flush=True)


if __name__ == "__main__":
    _serve()
