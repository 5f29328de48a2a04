"""Embeddings in a folder, shared by all processes that use it.

The files hold image content in encoded form: treat the folder as you treat the images. :meth:`CacheFolder.clear`
empties it.
"""

import contextlib
import logging
import os
import re
import time
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import atomic_target

_log = logging.getLogger(__name__)

_ENTRY_NAME = re.compile(r"[0-9a-f]{64}\.npy")
_TEMPORARY_NAME = re.compile(r"\.tmp-.*\.npy")
_ABANDONED_AFTER_SECONDS = 3600.0


class CacheFolder:
    """Named arrays on disk, bounded in bytes; the entry that was used the longest ago goes first.

    Files appear by an atomic rename, so that another process sees a whole file or none. What cannot be read (cut
    short, or no array at all) counts as absent and is replaced. A disk that cannot be written costs time later,
    never the work at hand: it is logged once, and writing stops. An entry that another process has open, which Windows
    then neither reads nor replaces, is left as it is.

    Args:
        folder: made when needed, readable by its owner only.
        max_bytes: bound on the size of all files together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._writable = True

    def read(self, name: str) -> np.ndarray | None:
        """The float16 array stored under 64 hexadecimal digits, or None."""
        path = self._path(name)
        try:
            with path.open("rb") as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                complete = stream.read(1) == b""
        except (FileNotFoundError, PermissionError):
            return None
        except (OSError, ValueError, EOFError, MemoryError):
            complete, array = False, None
        if array is None or not complete or array.dtype != np.float16:
            self._remove(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the order of eviction is that of use, for all processes
        return array

    def write(self, name: str, array: np.ndarray) -> None:
        """Store a float16 array, then remove the oldest entries beyond the bound."""
        if not self._writable or array.nbytes > self.max_bytes:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_target(self._path(name)) as temporary:
                np.save(temporary, array, allow_pickle=False)
        except (OSError, OutputError) as error:
            if _is_refused_rename(error):
                return
            self._writable = False
            _log.warning("The embedding cache on disk is switched off: %s", error)
            return
        self.evict()

    def evict(self) -> None:
        """Remove what a killed writer left behind long ago, then the oldest entries until the bound holds."""
        entries = []
        for path, status in self._files():
            if _TEMPORARY_NAME.fullmatch(path.name):
                if time.time() - status.st_mtime > _ABANDONED_AFTER_SECONDS:
                    self._remove(path)
            else:
                entries.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in entries) - self.max_bytes
        for _, size, path in sorted(entries):
            if excess <= 0:
                break
            self._remove(path)
            excess -= size

    def clear(self) -> None:
        """Remove all entries, and unfinished ones. Other files in the folder stay."""
        for path, _ in self._files():
            self._remove(path)

    @property
    def bytes_used(self) -> int:
        """Size of all entries together."""
        return sum(status.st_size for path, status in self._files() if _ENTRY_NAME.fullmatch(path.name))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if _ENTRY_NAME.fullmatch(entry.name) or _TEMPORARY_NAME.fullmatch(entry.name):
                    with contextlib.suppress(OSError):  # another process was faster
                        found.append((Path(entry.path), entry.stat()))
        return found

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):  # gone already, or held open on Windows: the next round gets it
            path.unlink()


def _is_refused_rename(error: OSError | OutputError) -> bool:
    """Whether only this one entry could not be replaced: a rename names two files, other operations one."""
    cause = error.__cause__ or error
    return isinstance(cause, PermissionError) and cause.filename2 is not None
