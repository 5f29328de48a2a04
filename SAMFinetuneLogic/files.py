"""Writing files so that a crash, a full disk or a kill never leaves a half-written one behind."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import OutputError

_CHUNK_BYTES = 1 << 20


def full_suffix(path: Path) -> str:
    """The suffix that decides the file format, with the double ones (``.nii.gz``) kept whole."""
    name = path.name.lower()
    for suffix in (".nii.gz", ".gipl.gz", ".seg.nrrd", ".seg.nhdr", ".mrk.json"):
        if name.endswith(suffix):
            return path.name[-len(suffix) :]
    return path.suffix


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=full_suffix(path), dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any, overwrite: bool = True) -> None:
    """Write ``content`` as indented UTF-8 JSON, atomically."""
    with atomic_target(path, overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
