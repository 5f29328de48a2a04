"""Requests and answers as bytes: pixels by reference, label maps without the empty space around the structures."""

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.slice_image import SliceImage

Key = str
"""Names the content of a slice's pixels."""


def pack(value: Any, keys_of: Callable[[Volume], Sequence[Key]] | None = None) -> bytes:
    """A request or an answer as bytes.

    Slices are replaced by their keys, and volumes, if ``keys_of`` is given, by those of their slices along k: the
    pixels themselves have been sent before.
    """
    stream = io.BytesIO()
    _Packer(stream, keys_of).dump(value)
    return stream.getvalue()


def unpack(content: bytes, pixels: Callable[[Key], np.ndarray], stack: Callable[[Sequence[Key]], np.ndarray]) -> Any:
    """The inverse of :func:`pack`.

    Args:
        pixels: of a slice.
        stack: (k, j, i) voxels of slices along k.
    """
    return _Unpacker(io.BytesIO(content), pixels, stack).load()


class _Packer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, keys_of: Callable[[Volume], Sequence[Key]] | None) -> None:
        super().__init__(stream, protocol=5)
        self._keys_of = keys_of

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, LabelMap):
            crops = _crops(obj.voxels)
            return "labels", obj.shape, obj.voxels.dtype, crops, obj.ijk_to_ras, obj.segments, obj.name
        if self._keys_of is not None and isinstance(obj, SliceImage):
            return "slice", obj.content_hash, obj.spacing, obj.slice, obj.window, obj.crop
        if self._keys_of is not None and isinstance(obj, Volume):
            return "volume", tuple(self._keys_of(obj)), obj.ijk_to_ras, obj.modality, obj.name
        return None


class _Unpacker(pickle.Unpickler):
    def __init__(
        self, stream: io.BytesIO, pixels: Callable[[Key], np.ndarray], stack: Callable[[Sequence[Key]], np.ndarray]
    ) -> None:
        super().__init__(stream)
        self._pixels, self._stack = pixels, stack

    def persistent_load(self, pid: Any) -> Any:
        kind, *rest = pid
        if kind == "labels":
            shape, dtype, crops, ijk_to_ras, segments, name = rest
            voxels = np.zeros(shape, dtype)
            for index, row, col, crop in crops:
                voxels[index, row : row + crop.shape[0], col : col + crop.shape[1]] = crop
            return LabelMap.of_known(voxels, ijk_to_ras, segments, name)  # checked where it was made
        if kind == "slice":
            key, *facts = rest
            return SliceImage(self._pixels(key), *facts)
        keys, ijk_to_ras, modality, name = rest
        return Volume(self._stack(keys), ijk_to_ras, modality, name)


def _crops(voxels: np.ndarray) -> list[tuple[int, int, int, np.ndarray]]:
    """(k, row, col, labels) of what is drawn on each slice along k."""
    crops = []
    for index, plane in enumerate(voxels):
        rows = np.flatnonzero(plane.any(axis=1))
        if len(rows):
            row0, row1 = int(rows[0]), int(rows[-1]) + 1
            cols = np.flatnonzero(plane[row0:row1].any(axis=0))
            col0, col1 = int(cols[0]), int(cols[-1]) + 1
            crops.append((index, row0, col0, plane[row0:row1, col0:col1].copy()))
    return crops
