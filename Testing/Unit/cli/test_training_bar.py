import argparse
import io
import re
import sys
import time

import pytest

from SAMFinetuneLogic.cli.training_bar import TrainingBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_steps_of_an_earlier_run_do_not_count_for_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with TrainingBar(argparse.Namespace(quiet=False)) as bar:
        bar.show(90, 100, None, None)
        for step in (91, 92):
            time.sleep(0.3)
            bar.show(step, 100, 0.5, 0.25)
        bar.show(92, 100, 0.5, 0.25, "judging")
    text = terminal.getvalue()
    # Some 0.3 s a step: 8 steps take 2.4 s, not the 0.05 s that 92 steps in 0.6 s would make of it.
    left = [int(found) for found in re.findall(r"92/100 \[\d+:\d+<\d+:(\d+),", text)]
    assert left and 2 <= left[-1] <= 20
    assert "loss 0.500, Dice 0.250, judging" in text


def test_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with TrainingBar(argparse.Namespace(quiet=quiet)) as bar:
            bar.begin(0, 4)
            bar.show(1, 4, 0.5, 0.5)
    assert capsys.readouterr().err == ""
