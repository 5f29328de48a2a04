"""The self-test that a user runs in Slicer passes on the host, and leaves nothing of its own behind."""

import sys

import pytest


@pytest.mark.slow
def test_the_self_test_passes(opened_with_process):
    bench = opened_with_process.bench
    jobs = bench.preferences.job_folder
    sys.modules["SAMFinetune"].SAMFinetuneTest().runTest()
    assert bench.preferences.job_folder == jobs and not list(jobs.glob("*/job.json"))
    assert bench.work is None and bench.learning.jobs.finished("samfinetune_default", "prompts") == []
