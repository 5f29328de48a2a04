"""Fetching one file: resumable, checked, atomic.

A broken download leaves ``NAME.part`` behind, and ``NAME.part.json`` with what identifies the file on the server,
so that the next attempt continues instead of starting over, but only if the file there is still the same one.
Proxies come from the environment (``HTTPS_PROXY`` and its kin), as ``requests`` reads them.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import requests

from SAMFinetuneLogic.errors import DownloadError
from SAMFinetuneLogic.files import replace_file, sha256_of, write_json
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled

_CHUNK_BYTES = 1 << 16  # what a broken connection loses at most
_SPARE_BYTES = 64 << 20
_CONNECT_SECONDS, _READ_SECONDS = 15, 60
_ATTEMPTS = 5

OFFLINE_HINT = "put the file by hand into the folder named by SAMFINETUNE_MODELS"


class _Interrupted(Exception):
    """The connection broke; what has arrived is kept and another attempt may continue."""


def download(
    url: str,
    target: Path,
    *,
    size: int | None,
    sha256: str | None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
    wait: Callable[[float], None] | None = None,
) -> Path:
    """Fetch ``url`` into ``target``.

    Args:
        size, sha256: what the file must have; None where nobody states it.
        progress: called with (bytes so far, bytes in total); the total is 0 while it is unknown.
        wait: called with the seconds to wait before trying again; default: ``time.sleep``.

    Returns:
        ``target``.

    Raises:
        DownloadError: no network, the server refuses, no space, or what arrived is not the expected file.
        Cancelled: stopped on request; a later call continues.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _require_space(target.parent, size, _length(part))
        _fetch_with_retries(url, part, size, progress, cancelled, wait or time.sleep)
        _check(part, url, size, sha256)
        replace_file(part, target)
    except OSError as error:
        raise DownloadError(f"Cannot write {target}: {error.strerror or error}.") from error
    _note(part).unlink(missing_ok=True)
    return target


def _fetch_with_retries(
    url: str,
    part: Path,
    size: int | None,
    progress: ProgressCallback,
    cancelled: CancelCheck | None,
    wait: Callable[[float], None],
) -> None:
    failures, furthest = 0, _length(part)
    while True:
        try:
            _fetch(url, part, size, progress, cancelled)
            return
        except _Interrupted as error:
            failures = 1 if _length(part) > furthest else failures + 1
            furthest = max(furthest, _length(part))
            if failures >= _ATTEMPTS:
                raise DownloadError(
                    f"The connection to {_host(url)} broke {failures} times ({error}); run the command again to "
                    f"continue, or {OFFLINE_HINT}."
                ) from error
            wait(min(2.0**failures, 10.0) / 2)


def _fetch(url: str, part: Path, size: int | None, progress: ProgressCallback, cancelled: CancelCheck | None) -> None:
    """One request, which continues ``part`` if the server agrees. Returns when the whole file has arrived."""
    start = _length(part)
    validator = _read_validator(part, url)
    if start and (validator is None or (size is not None and start > size)):
        _discard(part)
        start = 0
    if size is not None and start == size:
        return
    raise_if_cancelled(cancelled)
    try:
        with _request(url, start, validator) as response:
            start = _accepted_start(response, url, part, start)
            _refuse_web_page(response, url)
            total = _announced_size(response, start) or size or 0
            if size is not None and total != size:
                _discard(part)
                raise DownloadError(f"{url} has {total} bytes instead of {size}: it is another file.")
            _write_validator(part, url, response)
            progress(start, total)
            with part.open("ab" if start else "wb") as stream:
                arrived = start
                for chunk in response.iter_content(_CHUNK_BYTES):
                    stream.write(chunk)
                    arrived += len(chunk)
                    if size is not None and arrived > size:
                        stream.close()
                        _discard(part)
                        raise DownloadError(f"{url} is larger than the {size} bytes expected: it is another file.")
                    progress(arrived, total)
                    raise_if_cancelled(cancelled)
    except requests.exceptions.SSLError as error:
        raise DownloadError(
            f"No trusted connection to {_host(url)} ({_reason(error)}); check the computer's date and proxy, "
            f"or {OFFLINE_HINT}."
        ) from error
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        if _length(part) == 0 and not isinstance(error, requests.exceptions.ReadTimeout):
            raise DownloadError(
                f"Cannot reach {_host(url)} ({_reason(error)}); check the network and the proxy settings, "
                f"or {OFFLINE_HINT}."
            ) from error
        raise _Interrupted(_reason(error)) from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise _Interrupted(_reason(error)) from error
    except requests.exceptions.RequestException as error:
        raise DownloadError(f"Cannot fetch {url} ({_reason(error)}); {OFFLINE_HINT}.") from error
    if total and _length(part) < total:
        raise _Interrupted(f"{_length(part)} of {total} bytes arrived")


def _request(url: str, start: int, validator: str | None) -> requests.Response:
    headers = {"Accept-Encoding": "identity"}  # a compressed body would make ranges and sizes meaningless
    if start and validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    return requests.get(url, headers=headers, stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS))


def _accepted_start(response: requests.Response, url: str, part: Path, start: int) -> int:
    """Where the body begins in the file: ``start`` if the server continues, 0 if it sends all of it."""
    if response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        return start
    if response.status_code in (206, 416):  # a range that was not asked for, or beyond the end: start over
        _discard(part)
        raise _Interrupted("the server has another file now")
    if response.status_code == 404:
        raise DownloadError(f"{url} does not exist (any more): get the file from its authors and {OFFLINE_HINT}.")
    if response.status_code in (429, 500, 502, 503, 504):
        raise _Interrupted(f"the server answered {response.status_code}")
    if response.status_code != 200:
        raise DownloadError(
            f"{_host(url)} answered {response.status_code} {response.reason} to {url}; try later, or {OFFLINE_HINT}."
        )
    return 0


def _announced_size(response: requests.Response, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _refuse_web_page(response: requests.Response, url: str) -> None:
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(
            f"{url} answered with a web page instead of the file; a proxy or a login may stand between: "
            f"open the address in a browser and {OFFLINE_HINT}."
        )


def _check(part: Path, url: str, size: int | None, sha256: str | None) -> None:
    actual = _length(part)
    if size is not None and actual != size:
        _discard(part)
        raise DownloadError(f"{url} has {actual} bytes instead of {size}: it is another file, and was deleted.")
    if sha256 is not None and sha256_of(part) != sha256:
        _discard(part)
        raise DownloadError(
            f"The file from {url} does not have the expected SHA-256 and was deleted: try again, "
            f"or get it from its authors and {OFFLINE_HINT}."
        )


def _require_space(folder: Path, size: int | None, present: int) -> None:
    needed = (size or 0) - present + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"{folder} has {free / 1e6:.0f} MB free, but {needed / 1e6:.0f} MB are needed: make room, "
            "or name another folder in SAMFINETUNE_HOME."
        )


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_validator(part: Path, url: str) -> str | None:
    """What the server called the version that ``part`` was begun with; None if that cannot be told."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        return str(note["validator"]) if note["url"] == url and note["validator"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_validator(part: Path, url: str, response: requests.Response) -> None:
    etag = response.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else ""  # RFC 9110: If-Range takes no weak tag
    write_json(_note(part), {"url": url, "validator": strong or response.headers.get("Last-Modified", "")})


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _host(url: str) -> str:
    return url.split("/")[2]


def _reason(error: Exception) -> str:
    """The innermost cause in a few words; requests wraps it several times, with object addresses."""
    cause: BaseException = error
    while cause.args and isinstance(cause.args[-1], BaseException):
        cause = cause.args[-1]
    inner = getattr(cause, "reason", None)  # urllib3's MaxRetryError
    text = str(inner if isinstance(inner, BaseException) else cause).split(": ")[-1].strip("()'\" ")
    return text or type(cause).__name__
