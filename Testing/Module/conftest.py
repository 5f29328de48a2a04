"""Fixtures for the module on the test host; without what the host needs, everything but the reason is left out."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Host"), str(Path(__file__).parent)]

from host_needs import missing  # noqa: E402

if missing():
    collect_ignore_glob = ["test_[!h]*.py", "test_host.py"]  # test_host_needs.py is skipped and says why
else:
    from module_fixtures import *  # noqa: F403
