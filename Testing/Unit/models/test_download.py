"""Against a real HTTP server on this machine."""

import hashlib
import http.server
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from SAMFinetuneLogic.errors import Cancelled, DownloadError
from SAMFinetuneLogic.models import catalogue, store
from SAMFinetuneLogic.models import download as module
from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.download import download

CONTENT = bytes(range(256)) * 8000  # 2 MB, several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content`` under the rules in ``server.rules``."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        rules, content = self.server.rules, self.server.content
        self.server.requests.append(dict(self.headers))
        if rules.status != 200:
            self.send_error(rules.status)
            return
        start, wanted = 0, self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, rules.etag)
        if wanted and rules.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", rules.etag)
        self.send_header("Content-Type", rules.kind)
        if rules.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if rules.drops:
            body = body[: rules.drops.pop(0)]
        self.wfile.write(body)


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the tests


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    instance = QuietServer(("127.0.0.1", 0), Handler)
    instance.content = CONTENT
    instance.rules = SimpleNamespace(
        status=200, ranges=True, etag='"one"', kind="application/octet-stream", length=True, drops=[]
    )
    instance.requests = []
    instance.url = f"http://127.0.0.1:{instance.server_port}/model.pth"
    thread = threading.Thread(target=instance.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield instance
    instance.shutdown()
    instance.server_close()


def fetch(server, target, **changes):
    settings = {"size": len(CONTENT), "sha256": SHA256, "wait": lambda seconds: None}
    return download(server.url, target, **(settings | changes))


def leftovers(target):
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_fetches_and_reports_bytes(server, tmp_path):
    target = tmp_path / "deep" / "model.pth"
    seen = []
    fetch(server, target, progress=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_file_that_windows_holds_back_gets_its_name_a_moment_later(server, tmp_path, monkeypatch):
    """As when a virus scanner looks at what has just been written; the refusal is made here."""
    target, rename, refusals = tmp_path / "model.pth", Path.replace, [2]

    def replace_file(self, new):
        if new == target and refusals[0]:
            refusals[0] -= 1
            raise PermissionError(13, "Access is denied")
        return rename(self, new)

    monkeypatch.setattr(Path, "replace", replace_file)
    monkeypatch.setattr(sys, "platform", "win32")
    fetch(server, target)
    assert target.read_bytes() == CONTENT and refusals == [0] and leftovers(target) == []


@pytest.mark.parametrize("length", [True, False])
def test_continues_by_itself_after_a_broken_connection(server, tmp_path, length):
    server.rules.drops = [700_000, 300_000]
    server.rules.length = length
    target = tmp_path / "model.pth"
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    starts = [int(request["Range"].removeprefix("bytes=").rstrip("-")) for request in server.requests[1:]]
    assert 600_000 < starts[0] <= 700_000 and starts[0] + 200_000 < starts[1] <= 1_000_000
    assert server.requests[1]["If-Range"] == '"one"'


def test_starts_over_where_the_server_ignores_ranges(server, tmp_path):
    server.rules.ranges = False
    server.rules.drops = [700_000]
    target = tmp_path / "model.pth"
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_starts_over_when_the_file_has_changed(server, tmp_path):
    target = tmp_path / "model.pth"
    calls = []
    with pytest.raises(Cancelled):
        fetch(server, target, cancelled=lambda: len(calls) > 2, progress=lambda done, total: calls.append(done))
    assert 0 < (tmp_path / "model.pth.part").stat().st_size < len(CONTENT)
    server.rules.etag = '"two"'
    server.content = CONTENT[::-1]
    fetch(server, target, sha256=hashlib.sha256(CONTENT[::-1]).hexdigest())
    assert target.read_bytes() == CONTENT[::-1]
    assert leftovers(target) == []


def test_continues_after_being_stopped(server, tmp_path):
    target = tmp_path / "model.pth"
    calls = []
    with pytest.raises(Cancelled):
        fetch(server, target, cancelled=lambda: len(calls) > 2, progress=lambda done, total: calls.append(done))
    present = (tmp_path / "model.pth.part").stat().st_size
    assert not target.exists()
    fetch(server, target)
    assert server.requests[-1]["Range"] == f"bytes={present}-"
    assert target.read_bytes() == CONTENT


def test_a_part_of_unknown_origin_is_not_continued(server, tmp_path):
    (tmp_path / "model.pth.part").write_bytes(b"x" * 1000)
    fetch(server, tmp_path / "model.pth")
    assert "Range" not in server.requests[0]


def test_a_complete_part_is_checked_and_kept_without_asking_again(server, tmp_path):
    target = tmp_path / "model.pth"
    (tmp_path / "model.pth.part").write_bytes(CONTENT)
    (tmp_path / "model.pth.part.json").write_text(f'{{"url": "{server.url}", "validator": "x"}}')
    fetch(server, target)
    assert server.requests == [] and target.read_bytes() == CONTENT


def test_gives_up_after_several_attempts_and_keeps_the_part(server, tmp_path):
    server.rules.drops = [200_000] + [0] * 20
    waits = []
    with pytest.raises(DownloadError, match="run the command again"):
        fetch(server, tmp_path / "model.pth", wait=waits.append)
    assert (tmp_path / "model.pth.part").stat().st_size > 100_000
    assert waits and waits == sorted(waits)


def test_a_wrong_hash_deletes_the_part(server, tmp_path):
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(server, tmp_path / "model.pth", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [len(CONTENT) - 5, 10])
def test_a_larger_file_is_refused(server, tmp_path, size):
    with pytest.raises(DownloadError, match="another file"):
        fetch(server, tmp_path / "model.pth", size=size)
    assert list(tmp_path.iterdir()) == []


def test_a_smaller_file_is_refused(server, tmp_path):
    server.content = CONTENT[:1000]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "model.pth")
    assert not (tmp_path / "model.pth").exists()


@pytest.mark.parametrize(("status", "message"), [(404, "does not exist"), (403, "answered 403"), (503, "answered 503")])
def test_refusals_are_sentences(server, tmp_path, status, message):
    server.rules.status = status
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(server, tmp_path / "model.pth")
    assert "SAMFINETUNE_MODELS" in str(caught.value) and "\n" not in str(caught.value)


def test_a_web_page_is_refused(server, tmp_path):
    server.rules.kind = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="web page"):
        fetch(server, tmp_path / "model.pth")
    assert not (tmp_path / "model.pth").exists()


def test_no_network_names_the_offline_folder(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"Cannot reach.*SAMFINETUNE_MODELS") as caught:
        fetch(server, tmp_path / "model.pth")
    assert "0x" not in str(caught.value)


def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "")
    path = download("http://weights.invalid/model.pth", tmp_path / "m.pth", size=len(CONTENT), sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.requests[0]["Host"] == "weights.invalid"


def test_lack_of_space_is_noticed_before_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(DownloadError, match="SAMFINETUNE_HOME"):
        fetch(server, tmp_path / "model.pth")
    assert server.requests == []


def test_an_unwritable_folder_is_a_sentence(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="Cannot write"):
        fetch(server, tmp_path / "file" / "model.pth")


def test_a_model_of_the_catalogue_arrives_in_the_model_folder(server, tmp_path, monkeypatch):
    entry = replace(find_entry("sam_vit_b"), url=server.url, bytes=len(CONTENT), sha256=SHA256)
    for patched in (catalogue, store):
        monkeypatch.setattr(patched, "load_catalogue", lambda: {"sam_vit_b": entry})
    models = store.ModelStore(tmp_path / "models")
    server.rules.drops = [500_000]
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    path = models.get("sam_vit_b")
    assert path == tmp_path / "models" / "sam_vit_b_01ec64.pth" and models.verify("sam_vit_b").ok
    asked = len(server.requests)
    assert models.get("sam_vit_b") == path and len(server.requests) == asked
    assert models.remove("sam_vit_b") == (path,)


def test_size_and_hash_may_be_unknown(server, tmp_path):
    fetch(server, tmp_path / "model.pth", size=None, sha256=None)
    assert (tmp_path / "model.pth").read_bytes() == CONTENT
