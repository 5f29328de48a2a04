"""Models that are not on this computer: fetched on the user's click, or put into the offline folder."""

import hashlib
import http.server
import json
import sys
import tempfile
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import slicer
from module_scene import ras_of, settle
from processes import alive
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.models import catalogue, store
from SAMFinetuneLogic.models.catalogue import find_entry

MODEL = "sam_vit_b"
CONTENT = bytes(range(256)) * 4000

# As PythonSlicer: what is started is not the interpreter, but waits for it.
LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, {interpreter!r}, *sys.argv[1:]]))
"""
INTERPRETER = """
import json, os, sys
from dataclasses import replace
sys.path.append({root!r})
from SAMFinetuneLogic.models import catalogue, store
from SAMFinetuneLogic.models.catalogue import find_entry
entry = replace(find_entry({model!r}), **json.loads({facts!r}))
for module in (catalogue, store):
    module.load_catalogue = lambda: {{entry.id: entry}}
with open({pids!r}, "a") as file:
    print(os.getpid(), file=file)
assert sys.argv[1] == "-c"
code, sys.argv = sys.argv[2], ["-c", *sys.argv[3:]]
exec(code)
"""


class Slow(http.server.BaseHTTPRequestHandler):
    """A tenth of the file at a time; from the middle on only while the server's ``go`` is set."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        for at in range(start, len(CONTENT), len(CONTENT) // 10):
            if at >= len(CONTENT) // 2:
                self.server.go.wait(60)
            self.wfile.write(CONTENT[at : at + len(CONTENT) // 10])
            time.sleep(0.02)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as instance:
        instance.handle_error = lambda *_: None  # a client that hangs up is part of the tests
        instance.starts, instance.go = [], threading.Event()
        instance.go.set()
        threading.Thread(target=instance.serve_forever, args=(0.01,), daemon=True).start()
        yield instance
        instance.go.set()
        instance.shutdown()


@pytest.fixture
def missing(blocks, server, tmp_path, monkeypatch):
    """A small model of the catalogue that is not here, asked for while the blocks are open."""
    import SAMFinetuneLib.download

    url = f"http://127.0.0.1:{server.server_port}/model.pth"
    facts = {"url": url, "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    entries = catalogue.load_catalogue() | {MODEL: replace(find_entry(MODEL), **facts)}
    for module in (catalogue, store):
        monkeypatch.setattr(module, "load_catalogue", lambda: entries)
    root = str(Path(__file__).resolve().parents[2])
    blocks.pids = tmp_path / "pids"
    text = INTERPRETER.format(root=root, model=MODEL, facts=json.dumps(facts), pids=str(blocks.pids))
    (tmp_path / "interpreter.py").write_text(text)
    (tmp_path / "launcher.py").write_text(LAUNCHER.format(interpreter=str(tmp_path / "interpreter.py")))
    command = [sys.executable, str(tmp_path / "launcher.py")]
    monkeypatch.setattr(SAMFinetuneLib.download, "python_command", lambda: command)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    blocks.folder = tmp_path
    ui = blocks.panel.input.ui
    ui.modelSelector.setCurrentIndex(ui.modelSelector.findData(MODEL))
    return blocks


def test_a_model_that_is_not_here_says_what_to_do(missing):
    bench, ui = missing.bench, missing.panel.input.ui
    loads = missing.clients[0].log.count("load")
    assert "press Download" in ui.deviceState.text and ui.downloadButton.visible
    bench.prompter.add_point(ras_of(missing, 5, 20, 25))
    run_for(0.1)
    assert "press Download" in missing.panel.prompt.messages.text
    assert len(bench.prompter.prompts()) == 1 and missing.clients[0].log.count("load") == loads


def test_it_comes_on_a_click_with_progress_and_answers_what_waits(missing, server):
    bench, ui = missing.bench, missing.panel.input.ui
    bench.prompter.add_point(ras_of(missing, 5, 20, 25))
    download = missing.panel.input.download
    server.go.clear()
    ui.downloadButton.click()
    assert download.running and ui.downloadCancelButton.visible and not ui.downloadButton.visible
    assert ui.downloadProgress.value == 0
    assert run_until(lambda: 30 <= ui.downloadProgress.value <= 50, 60)
    server.go.set()
    assert run_until(lambda: not download.running, 60)
    assert missing.panel.input.messages.text == "" and ui.downloadProgress.value == 100
    assert (missing.folder / "home" / "models" / find_entry(MODEL).filename).read_bytes() == CONTENT
    settle(missing)
    assert bench.prompter.candidates is not None and not ui.downloadRow.visible
    assert list((missing.folder / "temporary").iterdir()) == []


def test_cancel_ends_all_that_was_started_and_the_next_try_goes_on(missing, server):
    download, ui = missing.panel.input.download, missing.panel.input.ui
    server.go.clear()
    ui.downloadButton.click()
    assert run_until(lambda: download.percent >= 30, 60)
    number = int(missing.pids.read_text())
    assert alive(number)
    begun = time.perf_counter()
    ui.downloadCancelButton.click()
    assert time.perf_counter() - begun < 5 and not download.running, "Slicer must not stand still"
    assert run_until(lambda: not alive(number), 5)
    assert list((missing.folder / "temporary").iterdir()) == []
    server.go.set()
    ui.downloadButton.click()
    assert run_until(lambda: not download.running, 60)
    assert download.error is None and server.starts[1] > 0


def test_closing_the_module_ends_it_too(missing, server):
    server.go.clear()
    missing.panel.input.ui.downloadButton.click()
    assert run_until(lambda: missing.panel.input.download.percent >= 20, 60)
    number = int(missing.pids.read_text())
    missing.panel.input.close()
    assert run_until(lambda: not alive(number), 5)


def test_without_an_interpreter_nothing_is_left(missing, monkeypatch):
    import SAMFinetuneLib.download

    monkeypatch.setattr(SAMFinetuneLib.download, "python_command", lambda: [str(missing.folder / "nowhere")])
    missing.panel.input.ui.downloadButton.click()
    assert "nowhere" in missing.panel.input.messages.details and not missing.panel.input.download.running
    assert list((missing.folder / "temporary").iterdir()) == []


def test_the_offline_folder(missing):
    bench, ui = missing.bench, missing.panel.input.ui
    folder = missing.folder / "by hand"
    folder.mkdir()
    (folder / find_entry(MODEL).filename).write_bytes(CONTENT)
    ui.modelFolder.currentPath = str(folder)
    assert run_until(lambda: bench.inference.info is not None)
    assert not ui.downloadRow.visible
    choice = bench.inference._choice()
    assert asdict(choice)["folder"] == folder and choice.model == MODEL
    assert bench.preferences.model_folder == folder
