"""Garbage is destroyed by the thread that finds it, and Qt's and VTK's objects bear only the main one.

Python looks for garbage in whichever thread happens to make objects: pytest-xdist's, that of a progress bar, or one
that another test has left. What the test before has closed would then be destroyed there, while the main thread's event
loop still has events for it, and the process would end with a segmentation fault. In Slicer's own process the module
starts no thread.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_here() -> Iterator[None]:
    """No other thread searches for garbage from now on, until :func:`anywhere_again`.

    What is made within the context is searched at its end. What was made before stays as it is, so that this takes
    little time, and is searched by :func:`anywhere_again`.
    """
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()


def anywhere_again() -> None:
    """Every thread may search for garbage again, after this one has found what there is."""
    if not gc.isenabled():
        gc.collect()
        gc.enable()
