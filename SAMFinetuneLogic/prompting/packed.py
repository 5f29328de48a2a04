"""Masks and logits as small immutable values: they can be compared, kept in an undo stack, and put into JSON."""

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError

_HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class PackedMask:
    """A boolean (rows, cols) mask, one bit a pixel, compressed."""

    shape: tuple[int, int]
    data: bytes

    @classmethod
    def pack(cls, mask: np.ndarray) -> "PackedMask":
        """Pack a (rows, cols) array; values other than 0 are inside."""
        array = np.asarray(mask)
        if array.ndim != 2 or array.size == 0:
            raise InputError(f"A mask of a slice has the shape (rows, cols), not {array.shape}; give one slice.")
        rows, cols = array.shape
        return cls((rows, cols), zlib.compress(np.packbits(array != 0).tobytes()))

    def unpack(self) -> np.ndarray:
        """The mask as a new boolean (rows, cols) array."""
        rows, cols = self.shape
        bits = np.frombuffer(_decompress(self.data, (rows * cols + 7) // 8), dtype=np.uint8)
        return np.unpackbits(bits, count=rows * cols).reshape(rows, cols).astype(bool)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; :meth:`from_dict` reads it."""
        return _to_dict(self.shape, self.data)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "PackedMask":
        """Raises :class:`InputError` if the content is damaged."""
        packed = cls(*_from_dict(content))
        packed.unpack()
        return packed


@dataclass(frozen=True)
class PackedLogits:
    """Low resolution logits (h, w) in half precision, compressed. Packing twice changes nothing."""

    shape: tuple[int, int]
    data: bytes

    @classmethod
    def pack(cls, logits: np.ndarray) -> "PackedLogits":
        """Pack a floating point (h, w) array; values beyond half precision are clamped."""
        array = np.asarray(logits)
        if array.ndim != 2 or array.size == 0:
            raise InputError(f"Logits of a mask prompt have the shape (h, w), not {array.shape}; give one mask.")
        rows, cols = array.shape
        half = np.clip(array, -_HALF_MAX, _HALF_MAX).astype("<f2")
        return cls((rows, cols), zlib.compress(half.tobytes(), level=1))

    def unpack(self) -> np.ndarray:
        """The logits as a new float32 (h, w) array."""
        rows, cols = self.shape
        half = np.frombuffer(_decompress(self.data, rows * cols * 2), dtype="<f2")
        return half.reshape(rows, cols).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; :meth:`from_dict` reads it."""
        return _to_dict(self.shape, self.data)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "PackedLogits":
        """Raises :class:`InputError` if the content is damaged."""
        packed = cls(*_from_dict(content))
        packed.unpack()
        return packed


def _to_dict(shape: tuple[int, int], data: bytes) -> dict[str, Any]:
    return {"shape": list(shape), "data": base64.b64encode(data).decode("ascii")}


def _from_dict(content: Mapping[str, Any]) -> tuple[tuple[int, int], bytes]:
    try:
        rows, cols = (int(length) for length in content["shape"])
        data = base64.b64decode(content["data"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise InputError("A stored mask is damaged: its shape or its data cannot be read; remove it.") from error
    if rows < 1 or cols < 1:
        raise InputError("A stored mask is damaged: its shape is empty; remove it.")
    return (rows, cols), data


def _decompress(data: bytes, size: int) -> bytes:
    """Exactly ``size`` bytes: a damaged or hostile file cannot make us allocate more."""
    worker = zlib.decompressobj()
    try:
        content = worker.decompress(data, size + 1)
    except zlib.error as error:
        raise InputError("A stored mask is damaged: its data cannot be unpacked; remove it.") from error
    if len(content) != size:
        raise InputError("A stored mask is damaged: its data does not fit its shape; remove it.")
    return content
