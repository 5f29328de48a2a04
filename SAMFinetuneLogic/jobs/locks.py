"""Locks that the operating system releases when their process ends, however it ends."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from SAMFinetuneLogic.errors import OutputError

PATIENCE = 0.2
_PAUSE = 0.005
_LOOKS = 3 if sys.platform == "win32" else 1
"""How often to look, :data:`_PAUSE` apart, before a lock counts as held: where there are no shared locks, those who
look take each other for a holder, for some microseconds."""


class FileLock:
    """An exclusive lock on a file, between processes and between holders within one.

    Args:
        path: of the lock file; made where it is missing, and left behind: only the lock counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._stream: IO[bytes] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._stream is not None

    def acquire(self, patience: float = PATIENCE) -> bool:
        """Take the lock if nobody holds it; whether that went well.

        Args:
            patience: seconds to go on trying. It must outlast those who only look, see :func:`is_locked`.

        Raises:
            OutputError: the file cannot be made.
        """
        if self._stream is not None:
            return True
        until = time.monotonic() + patience
        while not self._taken():
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        return True

    def _taken(self) -> bool:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stream = self.path.open("a+b")
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        try:
            _lock(stream)
        except OSError:
            stream.close()
            return False
        self._stream = stream
        return True

    def release(self) -> None:
        """Give it back; nothing happens where it is not held."""
        if self._stream is not None:
            _unlock(self._stream)
            self._stream.close()
            self._stream = None

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock now.

    To find out takes a lock, too, for some microseconds. It is a shared one where the system knows such: those who look
    do not take each other for a holder.
    """
    try:
        with path.open("rb") as stream:
            for look in range(_LOOKS):
                if look:
                    time.sleep(_PAUSE)
                with suppress(OSError):
                    _lock(stream, shared=True)
                    _unlock(stream)
                    return False
            return True
    except OSError:  # there is none, or it may not be read: then nobody's job runs here for us
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(stream: IO[bytes], shared: bool = False) -> None:
        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)

    def _unlock(stream: IO[bytes]) -> None:
        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(stream: IO[bytes], shared: bool = False) -> None:
        fcntl.flock(stream.fileno(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        os.set_inheritable(stream.fileno(), False)

    def _unlock(stream: IO[bytes]) -> None:
        fcntl.flock(stream.fileno(), fcntl.LOCK_UN)
