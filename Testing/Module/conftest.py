"""Fixtures for the module on the test host; without what the host needs, everything but the reason is left out."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from main_thread_garbage import only_here

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Host"), str(Path(__file__).parent)]

from host_needs import missing  # noqa: E402

if missing():
    collect_ignore_glob = ["test_[!h]*.py", "test_host.py"]  # test_host_needs.py is skipped and says why
else:
    from module_fixtures import *  # noqa: F403


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Around each test with its fixtures; the host's event loop searches for garbage meanwhile."""
    with only_here():
        return (yield)
