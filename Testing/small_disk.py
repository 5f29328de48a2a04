"""A disk that is too small: files cannot grow beyond a limit."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more than ``size`` bytes into a file fails meanwhile, as on a full disk; skips where this is unknown.

    Around the call alone that is to fail: the report of the tests may go into a file, too.
    """
    resource = pytest.importorskip("resource", reason="this system knows no limit on the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
