"""Keeping the warnings of C++ libraries off the terminal while they read a file.

ITK, GDCM and MetaIO print warnings on the process's standard error. What matters to the user comes as an exception
instead, with a sentence that says what to do.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk

_lock = threading.RLock()


@contextmanager
def quiet_native_code() -> Iterator[None]:
    """Silence ITK's warnings and the process's standard error (file descriptor 2) within the block.

    One thread at a time: the state that it changes belongs to the whole process. So keep the block short, and
    start no process within it.
    """
    with _lock:
        warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            with _stderr_to_nowhere():
                yield
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(warnings)


@contextmanager
def _stderr_to_nowhere() -> Iterator[None]:
    try:
        saved = os.dup(2)
    except OSError:  # a windowed application without a terminal has no standard error to protect
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
