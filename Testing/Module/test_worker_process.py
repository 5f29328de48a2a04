"""The module with the real inference process: start, answer, kill, and a user interface that never waits for it."""

import os
import signal
import time

import pytest
from module_scene import open_blocks, ras_of, settle, straight_affine
from slicer_host.event_loop import run_until

from SAMFinetuneLogic.imaging.axes import SliceIndex

WAIT = 240  # s; a busy machine needs long to import torch


@pytest.fixture
def with_process(opened_with_process):
    """The blocks opened, the model in its own process."""
    return open_blocks(opened_with_process, straight_affine(), WAIT)


@pytest.mark.slow
def test_click_kill_and_go_on(with_process):
    bench = with_process.bench
    bench.prompter.add_point(ras_of(with_process, 5, 20, 25))
    settle(with_process, WAIT)
    assert bench.prompter.candidates is not None, with_process.panel.prompt.messages.text
    assert bench.prompter.accept().slices == 1
    gaps, last = [], [time.perf_counter()]

    def tick():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    import qt

    timer = qt.QTimer()
    timer.setInterval(10)
    timer.connect("timeout()", tick)
    timer.start()
    bench.propagation.start()
    assert run_until(lambda: not bench.propagation.running, WAIT)
    timer.stop()
    assert bench.propagation.summary, with_process.panel.propagate.messages.text
    notices = []
    bench.inference.noticed.connect(notices.append)
    pid = with_process.clients[0].process_id
    assert pid
    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    bench.go_to(SliceIndex("k", 8))
    bench.prompter.add_point(ras_of(with_process, 8, 40, 50))
    settle(with_process, WAIT)
    assert bench.prompter.candidates is not None and notices
    assert sum(gap > 0.1 for gap in gaps) <= max(2, len(gaps) // 20), sorted(gaps)[-5:]
