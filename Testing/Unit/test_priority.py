"""Real processes that step back, alone or with the terminal session that they lead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from SAMFinetuneLogic.priority import popen_options

AUTOGROUP = Path("/proc/self/autogroup")
ROOT = Path(__file__).resolve().parents[2]

nice_values = pytest.mark.skipif(sys.platform == "win32", reason="there are no nice values on Windows")

REPORT = '''
import os
from pathlib import Path
from SAMFinetuneLogic.priority import lower_priority
group = Path("/proc/self/autogroup")


def nice_of_group():
    """Of "/autogroup-72 nice 0" the 0; "-" in the default group, for which the file is there and empty."""
    return (group.read_text().split() or "-")[-1] if group.exists() else "-"


before = nice_of_group()
lower_priority(7)
print(os.nice(0), before, nice_of_group())
'''


def report(**how) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-c", REPORT], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60, **how
    )
    return process.stdout.split()


@nice_values
def test_a_process_lowers_itself_and_leaves_its_session_alone():
    nice, before, after = report()
    assert int(nice) == min(19, os.nice(0) + 7)
    assert before == after


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this system does not group processes by session")
def test_who_leads_a_session_lowers_the_session_too():
    _, before, after = report(start_new_session=True)
    if before == "-":
        pytest.skip("this system gives sessions no group of their own")
    assert (before, after) == ("0", "7")


def test_on_windows_a_process_starts_behind_the_others_and_without_a_window(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    no_window, below_normal, new_group, detached = 0x08000000, 0x4000, 0x200, 0x8
    assert popen_options() == {"creationflags": no_window | below_normal}
    flags = popen_options(detached=True)["creationflags"]
    assert flags == no_window | below_normal | new_group and not flags & detached


def test_elsewhere_a_detached_process_leads_a_session(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert popen_options() == {"start_new_session": False} and popen_options(detached=True)["start_new_session"]
