"""Noticing DICOM files that were cut short: GDCM leaves them out of their series without a word.

A copy that was interrupted ends in such a file. In the middle of a series it leaves a gap, which is noticed anyway; at
its end it would only make the volume a slice shorter.
"""

import struct
from collections.abc import Iterable
from pathlib import Path

from SAMFinetuneLogic.errors import InputError

_PREAMBLE_BYTES = 128
_META_BYTES = 2048
_CLASS = struct.pack("<HH2s", 0x0002, 0x0002, b"UI")
"""Media storage SOP class UID: tag and type, as each file has it in its meta header, always little-endian."""


def check_none_left_out(folder: Path, taken: Iterable[Path], others: Iterable[Path] = ()) -> None:
    """Look for files of the kind that was taken which belong to no series that can be read.

    Args:
        taken: the files of the chosen series.
        others: those of the other series.

    Raises:
        InputError: there is one.
    """
    taken = list(taken)
    known = {path.name for path in (*taken, *others)}
    kind = _sop_class(taken[0])
    if kind is None:
        return
    for path in sorted(folder.iterdir()):
        if path.name not in known and path.is_file() and _sop_class(path) == kind:
            raise InputError(f"{path} is damaged or incomplete; fetch it again, or move it out of the folder.")


def _sop_class(path: Path) -> bytes | None:
    """What kind of DICOM object a file holds, by its first bytes; None for any other file."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_META_BYTES)
    except OSError:
        return None
    place = start.find(_CLASS, _PREAMBLE_BYTES + 4)
    if start[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != b"DICM" or place < 0 or len(start) < place + 8:
        return None
    (length,) = struct.unpack_from("<H", start, place + 6)
    return start[place + 8 : place + 8 + length].rstrip(b"\0 ")
