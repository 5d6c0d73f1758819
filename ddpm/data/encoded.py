"""Images compressed without loss, one after another in one .npy file: for sets that are too large as raw pixels.

The file is a one-dimensional uint8 array, so `np.load(mmap_mode="r")` opens it. It holds, all numbers little-endian:

| part | bytes |
|---|---|
| images | of each what `encode` gives: a WebP file (a PNG where there is 1 channel) and its CRC-32 (uint32) |
| padding | 0 to 7 zeros, so that the index begins at a multiple of 8 |
| index | int64 (N + 1): where each image begins in the array, and where the last one ends |
| trailer | the mark `ddpmenc1`; int64: images, height, width, channels, where the index begins |

Codecs and their settings are chosen by measurement: docs/decisions/0021-encoded-store.md.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, ClassVar, SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEADER_BYTES = 128
"""Length of the .npy header of prepared images, encoded or not."""
MARK = b"ddpmenc1"
TRAILER = struct.Struct("<8s5q")
CRC_BYTES = 4

CODECS: dict[int, tuple[str, dict[str, Any]]] = {
    1: ("PNG", {"compress_level": 6, "compress_type": zlib.Z_RLE}),
    3: ("WEBP", {"lossless": True, "method": 0, "quality": 0}),
}
"""Channels -> Pillow's name of the format, and how it is written."""

DAMAGE = (OSError, EOFError, SyntaxError, ValueError)
"""What a decoder raises for damaged bytes."""

THREADS = min(os.cpu_count() or 1, 8)
"""At 64 pixels a third of the work needs the interpreter, so more would only disturb the training."""
PARTS_OF_THREAD = 4
"""A thread decodes a quarter of its share at a time, so that none waits long for another."""
ITERATED_BYTES = 2**23
"""Pixels that are decoded at once where images are taken one by one."""

Numbers: TypeAlias = NDArray[np.integer[Any]]


def encode(image: NDArray[np.uint8]) -> bytes:
    """Compress an image without loss; equal pixels give equal bytes under one version of Pillow's libraries.

    Args:
        image: (height, width, 1 or 3).
    """
    kind, options = CODECS[image.shape[2]]
    file = io.BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(file, kind, **options)
    content = file.getvalue()
    return content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")  # WebP itself has no checksum


def npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of a uint8 .npy file, as `np.save` writes it; for any number of rows it has HEADER_BYTES.

    So it may be written last: numpy leaves room for the largest number.

    Args:
        shape: (bytes,) of everything behind the header of an encoded file; (images, height, width, channels) of pixels.
    """
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    header = file.getvalue()
    assert len(header) == HEADER_BYTES
    return header


def trailer(offsets: NDArray[np.int64], shape: tuple[int, int, int]) -> bytes:
    """What follows the images: padding, index and the trailer itself.

    Args:
        offsets: (N + 1,), where each image begins, counted from the end of the header, and where the last one ends.
        shape: (height, width, channels) of every image.
    """
    end = int(offsets[-1])
    padding = -end % 8
    fields = TRAILER.pack(MARK, len(offsets) - 1, *shape, end + padding)
    return bytes(padding) + offsets.astype("<i8").tobytes() + fields


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Encoded images as if they were an array (N, height, width, channels): decoded when they are indexed, in threads.

    An integer gives an image and integers give an array of images, by numpy's rules; a slice is a view like this one
    and decodes nothing, `np.asarray` decodes all. What comes out does not depend on the number of threads.

    Attributes:
        place: the file, for messages.
        data: the array that the file holds; a memory map.
        offsets: its index.
        image_shape: (height, width, channels).
        numbers: which images of the file these are.

    Raises:
        ValueError: at any access to pixels, an image that is damaged.
    """

    place: Path
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    image_shape: tuple[int, int, int]
    numbers: range

    dtype: ClassVar[np.dtype[np.uint8]] = np.dtype(np.uint8)
    ndim: ClassVar[int] = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, height, width, channels)."""
        return len(self.numbers), *self.image_shape

    @property
    def size(self) -> int:
        """How many pixel values there are."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What the decoded images take."""
        return self.size

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, key: slice) -> "EncodedImages": ...
    @overload
    def __getitem__(self, key: SupportsIndex | Numbers) -> NDArray[np.uint8]: ...
    def __getitem__(self, key: slice | SupportsIndex | Numbers) -> "EncodedImages | NDArray[np.uint8]":
        if isinstance(key, slice):
            return replace(self, numbers=self.numbers[key])
        rows = self._rows(key)
        return self._decode(rows.ravel()).reshape(*rows.shape, *self.image_shape)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        step = max(ITERATED_BYTES // prod(self.image_shape), 1)
        for first in range(0, len(self), step):
            yield from self[np.arange(first, min(first + step, len(self)))]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self.place}: encoded images must be decoded into new memory, got copy=False")
        return self[np.arange(len(self))].astype(dtype or self.dtype, copy=False)

    def _rows(self, key: SupportsIndex | Numbers) -> NDArray[np.int64]:
        """Which images of the file are meant."""
        if isinstance(key, tuple) or (rows := np.asarray(key)).dtype == np.bool_:
            raise IndexError(f"encoded images must be indexed by a slice, an integer or integers, got {key!r}")
        np.broadcast_to(np.uint8(0), len(self))[rows]  # an array without memory refuses what numpy refuses
        return self.numbers.start + self.numbers.step * np.where(rows < 0, rows + len(self), rows).astype(np.int64)

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = np.empty((len(rows), *self.image_shape), np.uint8)
        step = max(-(-len(rows) // (PARTS_OF_THREAD * THREADS)), 1)

        def fill(first: int) -> None:
            for row in range(first, min(first + step, len(rows))):
                images[row] = self._image(int(rows[row]))

        parts = range(0, len(rows), step)
        for _ in map(fill, parts) if min(THREADS, len(parts)) < 2 else _pool(THREADS).map(fill, parts):
            pass
        return images

    def _image(self, number: int) -> NDArray[np.uint8]:
        stored = self.data[self.offsets[number] : self.offsets[number + 1]]
        try:
            return _decoded(stored[:-CRC_BYTES], stored[-CRC_BYTES:], self.image_shape)
        except DAMAGE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{self.place}: image {number} must be whole, got {reason}; run `python -m ddpm prepare` again"
            ) from None


def open_encoded(place: Path, data: NDArray[np.uint8]) -> EncodedImages:
    """Encoded images from the array that their file holds; the index is checked, the images are not read.

    Args:
        place: the file, for messages.
        data: (bytes,), a memory map.

    Raises:
        ValueError: the array ends in no index, or in one that does not fit.
    """
    data = np.asarray(data)  # without the bookkeeping that numpy does for every slice of a memory map
    end = len(data) - TRAILER.size
    mark, count, *shape, start = TRAILER.unpack(data[end:].tobytes()) if end >= 0 else (b"", 0, 0, 0, 0, 0)
    if mark != MARK:
        raise _refused(place, "no index at the end")
    height, width, channels = shape
    if min(count, start) < 0 or min(height, width) < 1 or channels not in CODECS or start % 8:
        raise _refused(place, f"{count} images of {height}x{width}x{channels} with an index at {start}")
    if start + 8 * (count + 1) != end:
        raise _refused(place, f"an index of {end - start} bytes for {count} images")
    offsets = data[start:end].view("<i8")
    if offsets[0] != 0 or not start - 8 < offsets[-1] <= start or (offsets[1:] - offsets[:-1] <= CRC_BYTES).any():
        raise _refused(place, "an index whose places do not rise from the first image to the last")
    return EncodedImages(place, data, offsets, (height, width, channels), range(count))


def _refused(place: Path, found: str) -> ValueError:
    rule = "a one-dimensional array must hold encoded images and their index"
    return ValueError(f"{place}: {rule}, got {found}; run `python -m ddpm prepare` again")


def _decoded(content: NDArray[np.uint8], crc: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    # the checksum first: while it reads the disk through the map, other threads can run
    if zlib.crc32(content.data) != int.from_bytes(crc.tobytes(), "little"):
        raise ValueError("another checksum")
    with Image.open(io.BytesIO(content.tobytes()), formats=(CODECS[shape[2]][0],)) as image:
        pixels = np.asarray(image)
    if pixels.size != prod(shape) or pixels.shape[:2] != shape[:2]:
        raise ValueError(f"pixels of shape {pixels.shape}")
    return pixels.reshape(shape)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that decode, started at the first need; Pillow lets go of the interpreter while it decodes."""
    return ThreadPoolExecutor(threads, thread_name_prefix="decode")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has the pool without its threads
