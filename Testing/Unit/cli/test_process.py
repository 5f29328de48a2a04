"""The command as a process of its own: exit codes, one line, no traceback, Ctrl-C."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from SAMFinetuneLogic.cli.demo import FILES

COMMAND = [sys.executable, "-m", "SAMFinetuneLogic.cli"]


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def test_help_and_version():
    assert "segment" in call("--help").stdout
    assert call("segment", "--help").returncode == 0
    assert call("--version").stdout.startswith("samfinetune 0.")


def test_bad_input_is_one_line_and_exit_code_two(a_checkpoint, an_image, tmp_path):
    out = tmp_path / "out.nii.gz"
    for arguments in (
        ("segment", tmp_path / "missing.nii.gz", out, "--point", "0,0,0"),
        ("segment", an_image, out, "--point", "-500,0,0", "--model", a_checkpoint, "--quiet"),
    ):
        done = call(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("samfinetune: ")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
def test_a_disk_that_fills_up_while_writing(a_checkpoint, an_image, tmp_path):
    """A limit of 64 bytes a file stands in for it: the write itself fails."""
    arguments = ["segment", str(an_image), str(tmp_path / "out.nii.gz"), "--point", "0,0,0", "--quiet"]
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "from SAMFinetuneLogic.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-B", "-c", code, *arguments, "--model", str(a_checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "out.nii.gz" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
def test_a_disk_that_fills_up_while_the_demo_writes_its_phantom(a_checkpoint, tmp_path):
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "from SAMFinetuneLogic.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-B", "-c", code, "demo", "--folder", str(tmp_path), "--model", str(a_checkpoint)]
    done = subprocess.run([*command, "--quiet"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and FILES["image"] in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c(a_checkpoint, tmp_path):
    command = [*COMMAND, "demo", "--model", str(a_checkpoint), "--folder", str(tmp_path)]
    # A test run started in the background ignores Ctrl-C and would hand that on to the command.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    # By now the command is past its imports and at work.
    while not (tmp_path / FILES["image"]).exists():
        assert process.poll() is None, "the process ended early"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.strip().endswith("Stopped.") and "Traceback" not in err
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_reader_that_stops_early_is_no_error():
    done = subprocess.run(
        f"{' '.join(COMMAND)} models list | head -n 1", shell=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as a POSIX shell does")
@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams(a_checkpoint, an_image, tmp_path, closed):
    out = tmp_path / "out.nii.gz"
    words = [*COMMAND, "segment", an_image, out, "--point", "0,0,0", "--model", a_checkpoint]
    done = subprocess.run(f"{shlex.join(map(str, words))} {closed}", shell=True, timeout=300, capture_output=True)
    assert done.returncode == 0
    assert out.exists()


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_names_for_which_the_terminal_has_no_letters(a_checkpoint, an_image, tmp_path, form):
    """As on Windows, where a pipe takes the letters of one language."""
    out = tmp_path / "影像 é.nii.gz"
    command = [*COMMAND, "segment", an_image, out, "--point", "0,0,0", "--model", a_checkpoint, "--quiet", *form]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    assert out.exists()
    if form:
        assert json.loads(text)["output"] == str(out)
    else:
        assert r"\u5f71\u50cf \xe9.nii.gz" in text


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such names")
def test_a_result_whose_name_is_no_text(a_checkpoint, an_image, tmp_path):
    out = os.fsencode(tmp_path) + b"/caf\xe9.nii.gz"
    done = subprocess.run(
        [*COMMAND, "segment", str(an_image), out, "--point", "0,0,0", "--model", str(a_checkpoint), "--quiet"],
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    with open(os.fsencode(tmp_path) + b"/caf\xe9.json", encoding="utf-8") as stream:
        assert json.load(stream)["label_map"] == "caf\udce9.nii.gz"
