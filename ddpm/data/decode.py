"""Items to prepared images, over processes: the bytes depend neither on how many there are nor on which is faster."""

import hashlib
import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ddpm.data.catalog import Item
from ddpm.data.crops import apply_crop
from ddpm.data.encoded import encode
from ddpm.data.frames import DAMAGE, Frame, from_pixels, open_frame, require_same_pixels, strictly

CHUNK_IMAGES, CHUNK_BYTES = 256, 2**23
"""A chunk has as many images as both allow, and at least one."""
CHUNKS_AHEAD = 2
"""Chunks in flight per process: what bounds the memory, whatever the number of images."""
SPREAD_CHUNKS = 8
"""Fewer chunks than this are done here before other processes have started."""
DIGEST_BYTES = 16
"""Of the sha256 of an item's file and of its prepared pixels: enough to tell any number of images apart."""


class Failure(NamedTuple):
    """An item that could not be decoded."""

    row: int
    """Its place in what was asked for."""
    name: str
    reason: str


@dataclass
class Chunk:
    """Some prepared images; those of damaged items are left out.

    Attributes:
        images: uint8 (images, height, width, channels), or None where they are encoded or still in a file.
        encoded: the encoded images, or None.
        digests: uint8 (images, 32): of each file and of its prepared pixels.
        failures: what was left out; rows count within the chunk.
        notes: how often a rule of `frames` applied, and `enlarged` where a frame was smaller than the image.
        histogram: (channels, 256), how often each value stands in the prepared images.
        num_items: of the chunk, damaged ones included.
    """

    images: NDArray[np.uint8] | None
    encoded: list[bytes] | None
    digests: NDArray[np.uint8]
    failures: list[Failure]
    notes: Counter[str]
    histogram: NDArray[np.int64]
    num_items: int


@dataclass(frozen=True)
class Decoder:
    """Reads, decodes and crops items; travels to other processes by pickle.

    Attributes:
        read: of the catalog.
        crop, resample: names of `ddpm.data.crops`.
        shape: (height, width, channels) of an image.
        lossless: whether to encode what is prepared.
    """

    read: Callable[[Item], bytes | NDArray[np.uint8]]
    crop: str
    resample: str
    shape: tuple[int, int, int]
    lossless: bool = False

    @property
    def chunk_images(self) -> int:
        """How many images make a chunk."""
        height, width, channels = self.shape
        return min(max(CHUNK_BYTES // (height * width * channels), 1), CHUNK_IMAGES)

    def __call__(self, items: Sequence[Item]) -> Chunk:
        """Prepare some items, noting the damaged ones.

        Raises:
            ValueError: a whole frame that the crop is not defined on: the setting is wrong, not one file.
        """
        images = np.empty((len(items), *self.shape), dtype=np.uint8)
        digests = np.empty((len(items), 2 * DIGEST_BYTES), dtype=np.uint8)
        failures: list[Failure] = []
        notes: Counter[str] = Counter()
        good = 0
        with strictly():
            for row, item in enumerate(items):
                try:
                    content = self.read(item)
                    frame = open_frame(content) if isinstance(content, bytes) else from_pixels(content)
                except DAMAGE as error:
                    failures.append(Failure(row, item.name, _reason(error)))
                    continue
                if row == 0 and isinstance(content, bytes):
                    require_same_pixels(content, item.name)
                images[good] = self._prepare(item, frame, notes)
                digests[good, :DIGEST_BYTES] = _digest(content)
                digests[good, DIGEST_BYTES:] = _digest(images[good])
                good += 1
        return Chunk(
            images=None if self.lossless else images[:good],
            encoded=[encode(image) for image in images[:good]] if self.lossless else None,
            digests=digests[:good],
            failures=failures,
            notes=notes,
            histogram=histogram(images[:good]),
            num_items=len(items),
        )

    def _prepare(self, item: Item, frame: Frame, notes: Counter[str]) -> NDArray[np.uint8]:
        height, width, channels = self.shape
        mode = "RGB" if channels == 3 else "L"
        notes.update(frame.notes)
        notes["enlarged"] += frame.size[0] < width or frame.size[1] < height
        if frame.mode != mode:
            frame = Frame(frame.image(mode))
        try:
            cut = apply_crop(frame, self.crop, self.resample, (width, height))
        except ValueError as error:
            raise ValueError(f"{item.name}: {error}") from None
        return cut.reshape(self.shape)


@dataclass
class _Worker:
    """Of a worker process: what is sent once instead of with every chunk, and with it the open files."""

    decoder: Decoder | None = field(default=None)


_worker = _Worker()


def decode(
    decoder: Decoder,
    items: Callable[[int, int], Sequence[Item]],
    num_items: int,
    scratch: Path,
    *,
    workers: int,
    done: int = 0,
) -> Iterator[Chunk]:
    """Prepare items chunk by chunk, in their order.

    Args:
        decoder: how an item becomes an image.
        items: (first, last + 1) -> those items; asked for chunks when they are about to be prepared.
        num_items: of all.
        scratch: folder for the pixels that processes pass on; exists.
        workers: processes; 1, or few images, prepare in this one.
        done: so many of the first items are left out; a multiple of the chunk, or all of them.

    Raises:
        ValueError: a frame that the crop is not defined on, or a process that died.
    """
    step = decoder.chunk_images
    chunks = [(first, min(first + step, num_items)) for first in range(done, num_items, step)]
    waiting = (items(*chunk) for chunk in chunks)
    if workers > 1 and len(chunks) >= SPREAD_CHUNKS:
        yield from _spread(decoder, waiting, min(workers, len(chunks)), scratch)
    else:
        yield from map(decoder, waiting)


def histogram(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each value stands in each channel.

    Args:
        images: uint8 (images, height, width, channels).

    Returns:
        (channels, 256).
    """
    num_images, height, width, channels = images.shape
    if not num_images:
        return np.zeros((channels, 256), np.int64)
    pixels = images.reshape(num_images * height, width, channels)
    tall = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)  # counts twice as fast as np.bincount
    return np.array(tall.histogram(), np.int64).reshape(channels, 256)


Waiting: TypeAlias = Iterator[Sequence[Item]]


def _spread(decoder: Decoder, waiting: Waiting, workers: int, scratch: Path) -> Iterator[Chunk]:
    # spawn, not fork: the parent may hold threads (torch, a progress bar), and a fork would copy their locks
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(decoder,))
    slots = [scratch / f"pixels-{number}" for number in range(CHUNKS_AHEAD * workers)]
    pending: deque[tuple[Future[Chunk], Path]] = deque()
    try:
        for chunk, slot in zip(waiting, cycle(slots), strict=False):
            if len(pending) == len(slots):  # the oldest one has this slot
                yield _received(decoder, *pending.popleft())
            pending.append((pool.submit(_work, chunk, slot), slot))
        while pending:
            yield _received(decoder, *pending.popleft())
    except BrokenProcessPool:
        raise ValueError(
            "prepare: a decoding process died, perhaps out of memory; what is done is kept, try --workers 1"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _received(decoder: Decoder, future: Future[Chunk], slot: Path) -> Chunk:
    """A chunk with its pixels, which come through a file: a pipe copies them four times, in small pieces."""
    chunk = future.result()
    if not decoder.lossless:
        chunk.images = np.fromfile(slot, np.uint8).reshape(-1, *decoder.shape)
    return chunk


def _start(decoder: Decoder) -> None:
    _worker.decoder = decoder
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A parent that is killed tells nobody, and its workers would wait for the next chunk forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(items: Sequence[Item], slot: Path) -> Chunk:
    assert _worker.decoder is not None
    chunk = _worker.decoder(items)
    if chunk.images is not None:
        chunk.images.tofile(slot)
        chunk.images = None
    return chunk


def _digest(content: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    data = content if isinstance(content, bytes) else np.ascontiguousarray(content).data
    return np.frombuffer(hashlib.sha256(data).digest()[:DIGEST_BYTES], np.uint8)


def _reason(error: BaseException) -> str:
    """Why, without addresses or paths: it goes into the manifest."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known kind"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
