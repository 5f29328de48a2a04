"""A process that ends with its parent, in processes of its own."""

import subprocess
import sys

import pytest

CHILD = """
import os, time
from SAMFinetuneLogic.worker.parent_watch import end_with_parent
end_with_parent(lambda: os._exit(7))
import scipy.linalg  # whose libraries look at standard input
print("ready", flush=True)
time.sleep(0.5)
print("still here", flush=True)
time.sleep(600)
"""
LAUNCHER = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', sys.argv[1]]))"


@pytest.mark.parametrize("command", [[sys.executable, "-c", CHILD], [sys.executable, "-c", LAUNCHER, CHILD]])
def test_it_goes_on_until_standard_input_is_closed(command):
    """Also with a launcher between the two, as PythonSlicer is."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip() == "ready" and process.stdout.readline().strip() == "still here"
        process.stdin.close()
        assert process.wait(60) == 7
    finally:
        process.stdout.close()
        process.kill()


def test_a_process_that_is_done_ends_by_itself():
    code = "from SAMFinetuneLogic.worker.parent_watch import end_with_parent; end_with_parent(lambda: print('ended'))"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.wait(60) == 0 and process.stdout.read() == ""
    finally:
        process.stdin.close()
        process.stdout.close()
