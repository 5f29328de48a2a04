"""Writing files so that a crash, a full disk or a kill never leaves a half-written one behind."""

import atexit
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from SAMFinetuneLogic.errors import OutputError

_CHUNK_BYTES = 1 << 20
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts to rename; the first three of them between attempts to read, for which somebody waits."""

_T = TypeVar("_T")

_unfinished: set[Path] = set()
"""Temporary files of this process. A Ctrl-C can come between any two lines; what it leaves is removed at exit."""


@atexit.register
def remove_unfinished() -> None:
    """Remove the temporary files of blocks that were interrupted before they could tidy up."""
    while _unfinished:
        with suppress(OSError):
            _unfinished.pop().unlink(missing_ok=True)


def full_suffix(path: Path) -> str:
    """The suffix that decides the file format, with the double ones (``.nii.gz``) kept whole."""
    name = path.name.lower()
    for suffix in (".nii.gz", ".gipl.gz", ".seg.nrrd", ".seg.nhdr", ".mrk.json"):
        if name.endswith(suffix):
            return path.name[-len(suffix) :]
    return path.suffix


def check_target(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Find out early whether ``path`` can be written.

    Raises:
        OutputError: it exists and ``overwrite`` is False, it is one of the ``inputs`` (never overwritten), it is a
            folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a folder. Give the name of a file.")
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise OutputError(f"{path} is an input of this command and would be lost; choose another name for the result.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another name, or add --overwrite.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise OutputError(f"Cannot write {path}: {folder} is a file, not a folder. Choose another folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write {path}: no permission to write in {folder}. Choose another folder.")


@contextmanager
def atomic_target(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an error.

    The temporary name keeps the full suffix, so that writers which choose the format by name work.

    Raises:
        OutputError: the folder cannot be made or written, the disk is full, or the file exists and
            ``overwrite`` is False.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a folder. Give the name of a file.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Choose another name, or allow overwriting.")
    temporary = path.parent / f".tmp-{secrets.token_hex(8)}{full_suffix(path)}"
    _unfinished.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        replace_file(temporary, path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # where nothing could be made, there is nothing to remove
            temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def replace_file(source: Path, target: Path) -> None:
    """Rename; where Windows refuses because somebody reads the old file just now, again for 1.6 s.

    Raises:
        OSError: of the last attempt.
    """
    _patiently(lambda: source.replace(target), _PAUSES)


def read_replaced(path: Path) -> str:
    """The UTF-8 text of a file that others replace; where Windows refuses because they do just now, again for 0.1 s.

    Raises:
        OSError: of the last attempt.
        UnicodeDecodeError: it is no text.
    """
    return _patiently(lambda: path.read_text(encoding="utf-8"), _PAUSES[:3])


def _patiently(action: Callable[[], _T], pauses: Iterable[float]) -> _T:
    for pause in pauses if sys.platform == "win32" else ():
        try:
            return action()
        except PermissionError:
            time.sleep(pause)
    return action()


def write_json(path: Path, content: Any, overwrite: bool = True) -> None:
    """Write ``content`` as indented UTF-8 JSON, atomically."""
    with atomic_target(path, overwrite) as temporary:
        temporary.write_bytes(json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Indented UTF-8 JSON, as it stands in a file.

    A file's name may hold bytes that are no letters (Python reads them as lone surrogates): they become JSON escapes.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def absolute_if_file(name: str) -> str:
    """A model's name for a process that runs in another folder: a file's path made absolute, an id as it is."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.is_file() else name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
