"""Files that belong together: all of them take their places, or none does. No Qt."""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import atomic_target, full_suffix


@contextmanager
def together(paths: Sequence[Path], overwrite: bool) -> Iterator[dict[Path, Path]]:
    """Yield a temporary path for each file; they take their places when the block ends without an error.

    If one of them cannot (another program has the earlier file open, or a folder of that name was made meanwhile),
    everything is as it was before.

    Raises:
        OutputError: a file cannot be written or replaced, or exists and ``overwrite`` is False.
    """
    kept: dict[Path, Path | None] = {}
    try:
        with ExitStack() as places:
            yield {path: places.enter_context(atomic_target(path, overwrite)) for path in paths}
            for path in paths:
                kept[path] = _keep(path)
    except BaseException:
        for path, old in kept.items():
            _put_back(path, old)
        raise
    for old in kept.values():
        if old is not None:
            with suppress(OSError):
                old.unlink(missing_ok=True)


def _keep(path: Path) -> Path | None:
    """Another name for what is there now; None for nothing. Where the disk knows no second names it is moved."""
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a folder. Choose another name.")
    if not path.exists():
        return None
    old = path.parent / f".old-{secrets.token_hex(8)}{full_suffix(path)}"
    try:
        path.rename(path)  # Windows refuses this while another program has the file open, but not a second name
        try:
            os.link(path, old)
        except OSError:
            path.rename(old)
    except OSError as error:
        raise OutputError(f"Cannot replace {path}: {error.strerror or error}.") from error
    return old


def _put_back(path: Path, old: Path | None) -> None:
    with suppress(OSError):
        if old is None:
            path.unlink(missing_ok=True)
        elif path.exists() and path.samefile(old):
            old.unlink()
        else:
            old.replace(path)
