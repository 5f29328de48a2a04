"""A download through a line that breaks off: the scene stays as it is, and the user is told what to do."""

import socketserver
import threading

import numpy as np
import pytest
import slicer
from module_scene import ras_of, settle
from slicer_host.event_loop import run_until

from SAMFinetuneLogic.models.catalogue import load_catalogue


class HangsUp(socketserver.BaseRequestHandler):
    """A proxy that takes the request and breaks the connection."""

    def handle(self):
        self.server.asked.append(self.request.recv(4096).split(b"\r\n")[0])


@pytest.fixture
def broken_line(monkeypatch):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangsUp) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield server
        server.shutdown()


def test_a_download_that_breaks_off_leaves_the_scene_and_says_what_to_do(blocks, broken_line):
    bench, panel = blocks.bench, blocks.panel.input
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    entry = next(entry for entry in load_catalogue().values() if entry.url and not entry.import_only)
    panel.download.start(entry.id)
    assert panel.download.running
    assert run_until(lambda: not panel.download.running, 120)
    assert broken_line.asked and broken_line.asked[0].startswith(b"CONNECT")
    assert panel.download.error is not None
    assert "by hand into the offline folder" in panel.messages.text  # where there is no line
    panel.messages.copy_button.click()
    import qt

    assert "DownloadError" in qt.QApplication.clipboard().text()
    node = bench.work.segmentation_node
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, bench.prompter.segment, blocks.node)
    assert np.count_nonzero(array) == 20 * 28
    bench.prompter.add_point(ras_of(blocks, 5, 40, 50))
    settle(blocks)
    assert bench.prompter.candidates is not None
