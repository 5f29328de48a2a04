"""Which pixels the other process holds, so that each slice crosses once."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.worker.packing import Key

MAX_BYTES = 768 * 2**20
"""Of pixels in the other process, except where one volume alone is larger."""

_ANY_WINDOW = Window(0.0, 1.0, "none")


class Crossed:
    """The other process's slices by the content of their pixels, least recently used first.

    Args:
        max_bytes: beyond that, the oldest slices are to be dropped.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.bytes_used = 0
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[Key, int] = OrderedDict()
        self._volumes: WeakKeyDictionary[Volume, list[Key]] = WeakKeyDictionary()

    def missing(self, key: Key, pixels: np.ndarray) -> bool:
        """Whether a slice has to be sent; it counts as sent from now on."""
        if key in self._sizes:
            self._sizes.move_to_end(key)
            return False
        self._sizes[key] = pixels.nbytes
        self.bytes_used += pixels.nbytes
        return True

    def slices_to_send(self, volume: Volume) -> Iterator[tuple[Key, np.ndarray] | None]:
        """Go through a volume's slices along k: those to be sent, and None for each that is there already.

        Hashing and sending one takes about a millisecond: the caller stops in between as it likes.
        """
        keys = self._volumes.get(volume)
        known = keys is not None and len(keys) == volume.slice_count("k")
        found: list[Key] = keys if keys is not None and known else []
        for index in range(volume.slice_count("k")):
            image = SliceImage.of(volume, SliceIndex("k", index), _ANY_WINDOW)
            if known:
                key = found[index]
            else:
                key = image.content_hash
                found.append(key)
            yield (key, image.pixels) if self.missing(key, image.pixels) else None
        self._volumes[volume] = found

    def keys_of(self, volume: Volume) -> list[Key]:
        """The keys of a volume that :meth:`slices_to_send` has gone through."""
        return self._volumes[volume]

    def surplus(self) -> list[Key]:
        """The slices that the other process has to drop now."""
        dropped = []
        while self.bytes_used > self._max_bytes and self._sizes:
            key, size = self._sizes.popitem(last=False)
            self.bytes_used -= size
            dropped.append(key)
        return dropped

    def clear(self) -> None:
        """The other process holds nothing any more; what is known of volumes stays."""
        self._sizes.clear()
        self.bytes_used = 0


class PixelStore:
    """The other process's side: the slices that have come."""

    def __init__(self) -> None:
        self._slices: dict[Key, np.ndarray] = {}
        self._stacks: dict[tuple[Key, ...], np.ndarray] = {}

    def add(self, key: Key, pixels: np.ndarray) -> None:
        """Keep a slice."""
        pixels.flags.writeable = False
        self._slices[key] = pixels

    def drop(self, keys: list[Key]) -> None:
        """Forget slices, and the volumes made of them."""
        for key in keys:
            self._slices.pop(key, None)
        self._stacks.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._slices.clear()
        self._stacks.clear()

    def pixels(self, key: Key) -> np.ndarray:
        """Of a slice."""
        return self._slices[key]

    def stack(self, keys: Sequence[Key]) -> np.ndarray:
        """The voxels of a volume; its slices become views of them, so that they take memory once."""
        name = tuple(keys)
        found = self._stacks.get(name)
        if found is None:
            found = np.stack([self._slices[key] for key in keys])
            found.flags.writeable = False
            for key, plane in zip(keys, found, strict=True):
                self._slices[key] = plane
            self._stacks = {name: found}
        return found
