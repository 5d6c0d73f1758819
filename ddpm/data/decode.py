"""Items to prepared images, over processes: the bytes depend neither on how many there are nor on which is faster.

Processes write pixels where they belong, into the file of the split, on the assumption that every item before is whole;
what comes behind a damaged item is moved later (`ddpm.engine.growing`).
"""

import hashlib
import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from threadpoolctl import threadpool_limits
from xxhash import xxh3_128_digest

from ddpm.data.catalog import Item
from ddpm.data.crops import BILINEAR, apply_crop
from ddpm.data.encoded import encode
from ddpm.data.frames import DAMAGE, Frame, from_pixels, open_frame, require_same_pixels, strictly

CHUNK_IMAGES, CHUNK_BYTES = 256, 2**23
"""A chunk has as many images as both allow, and at least one."""
CHUNKS_AHEAD = 2
"""Chunks in flight per process: what bounds the memory, whatever the number of images."""
SPREAD_CHUNKS = 8
"""Fewer chunks than this are done here before other processes have started."""
DIGEST_BYTES = 16
"""Of the sha256 of an item's file, and of the XXH3 of its prepared pixels: both tell any number of images apart."""
SUMMED_ROWS = 256
"""Of pixels: so many squares of 8 bits have a sum below 2**24, and are exact in float32."""
HALVED_IMAGES = 16
"""So many are halved at once: their pixels stay in the cache of a core."""

Pixels: TypeAlias = NDArray[np.uint8]
Halve: TypeAlias = Callable[[Pixels], Pixels]
"""(images, 2 height, 2 width, 3) -> (images, height, width, 3), with the pixels of Pillow's bilinear kernel."""


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
        images: uint8 (images, height, width, channels), or None where they are encoded, or in the file of the split.
        encoded: the encoded images, or None.
        digests: uint8 (images, 32): of each file and of its prepared pixels.
        failures: what was left out; rows count within the chunk.
        notes: how often a rule of `frames` applied, and `enlarged` where a frame was smaller than the image.
        sums: (2, channels), of all values and of their squares.
        num_items: of the chunk, damaged ones included.
    """

    images: Pixels | None
    encoded: list[bytes] | None
    digests: Pixels
    failures: list[Failure]
    notes: Counter[str]
    sums: NDArray[np.int64]
    num_items: int


@dataclass(frozen=True)
class Decoder:
    """Reads, decodes and crops items; travels to other processes by pickle.

    Attributes:
        read: of the catalog.
        crop, resample: names of `ddpm.data.crops`.
        shape: (height, width, channels) of an image.
        lossless: whether to encode what is prepared.
        halve: what halves images faster than Pillow, or None.
    """

    read: Callable[[Item], bytes | Pixels]
    crop: str
    resample: str
    shape: tuple[int, int, int]
    lossless: bool = False
    halve: Halve | None = None

    @property
    def image_bytes(self) -> int:
        """Of a prepared image."""
        return prod(self.shape)

    @property
    def chunk_images(self) -> int:
        """How many images make a chunk."""
        return min(max(CHUNK_BYTES // self.image_bytes, 1), CHUNK_IMAGES)

    def __call__(self, items: Sequence[Item]) -> Chunk:
        """Prepare some items, noting the damaged ones.

        Raises:
            ValueError: a whole frame that the crop is not defined on: the setting is wrong, not one file.
        """
        images = np.empty((len(items), *self.shape), dtype=np.uint8)
        of_files: list[bytes] = []
        failures: list[Failure] = []
        notes: Counter[str] = Counter()
        halves = None if self.halve is None else _Halves(self.halve, images)
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
                cut = self._prepare(item, frame, notes)
                if cut.shape == self.shape:
                    images[good] = cut
                else:
                    assert halves is not None
                    halves.add(cut, good)
                of_files.append(_digest(content))
                good += 1
        if halves is not None:
            halves.finish()
        images = images[:good]
        of_pixels = [xxh3_128_digest(image.data) for image in images]
        digests = b"".join(chain.from_iterable(zip(of_files, of_pixels, strict=True)))
        return Chunk(
            images=None if self.lossless else images,
            encoded=[encode(image) for image in images] if self.lossless else None,
            digests=np.frombuffer(digests, np.uint8).reshape(good, 2 * DIGEST_BYTES),
            failures=failures,
            notes=notes,
            sums=sums_of(images),
            num_items=len(items),
        )

    def halves(self, item: Item) -> bool:
        """Whether `halve` would be called for an item, as far as the item is whole."""
        try:
            content = self.read(item)
            frame = open_frame(content) if isinstance(content, bytes) else from_pixels(content)
            return self._prepare(item, frame, Counter()).shape != self.shape
        except DAMAGE:
            return False

    def _prepare(self, item: Item, frame: Frame, notes: Counter[str]) -> Pixels:
        """The image, or where `halve` is given perhaps what it has to halve."""
        height, width, channels = self.shape
        mode = "RGB" if channels == 3 else "L"
        if frame.notes:
            notes.update(frame.notes)
        frame_width, frame_height = frame.size
        if frame_width < width or frame_height < height:
            notes["enlarged"] += 1
        if frame.mode != mode:
            frame = Frame(frame.image(mode))
        try:
            cut = apply_crop(frame, self.crop, self.resample, (width, height), halve=self.halve is None)
        except ValueError as error:
            raise ValueError(f"{item.name}: {error}") from None
        return cut if cut.ndim == 3 else cut[..., None]


class _Halves:
    """Cuts that have twice the size of an image, until they are enough to be halved together.

    Args:
        halve: what halves them.
        images: where the halves go.
    """

    def __init__(self, halve: Halve, images: Pixels) -> None:
        self._halve, self._images, self._rows = halve, images, list[int]()
        _, height, width, channels = images.shape
        self._cuts = np.empty((HALVED_IMAGES, 2 * height, 2 * width, channels), np.uint8)
        self._compared = False

    def add(self, cut: Pixels, row: int) -> None:
        """Take a cut whose half belongs to a row."""
        self._cuts[len(self._rows)] = cut
        self._rows.append(row)
        if len(self._rows) == HALVED_IMAGES:
            self.finish()

    def finish(self) -> None:
        """Halve what is waiting.

        Raises:
            ValueError: the first of them differs from Pillow's.
        """
        if not self._rows:
            return
        halves = self._halve(self._cuts[: len(self._rows)])
        self._images[self._rows] = halves
        if not self._compared:
            height, width = halves.shape[1:3]
            wanted = Image.fromarray(self._cuts[0]).resize((width, height), BILINEAR)
            if not np.array_equal(halves[0], np.asarray(wanted)):
                raise ValueError(
                    f"prepare: torch and Pillow {PIL.__version__} must halve an image to the same pixels, got "
                    "different ones; install the versions of requirements.lock, or prepare with --workers 1"
                )
            self._compared = True
        self._rows.clear()


class Target(NamedTuple):
    """Where the pixels of a split go."""

    path: Path
    """The file; it exists."""
    first: int
    """Its bytes before the pixels."""


@dataclass
class _Worker:
    """Of a worker process: what is sent once instead of with every chunk, and with it the open files."""

    decoder: Decoder | None = field(default=None)
    target: Target | None = None
    descriptor: int = -1


_worker = _Worker()


def decode(
    decoder: Decoder,
    items: Callable[[int, int], Sequence[Item]],
    num_items: int,
    target: Target,
    *,
    workers: int,
    done: int = 0,
) -> Iterator[Chunk]:
    """Prepare items chunk by chunk, in their order.

    Args:
        decoder: how an item becomes an image.
        items: (first, last + 1) -> those items; asked for chunks when they are about to be prepared.
        num_items: of all.
        target: where processes write pixels, each image at the place of its item; then chunks come without them.
        workers: processes; 1, or few images, prepare in this one.
        done: so many of the first items are left out; a multiple of the chunk, or all of them.

    Raises:
        ValueError: a frame that the crop is not defined on, or a process that died.
    """
    step = decoder.chunk_images
    firsts = range(done, num_items, step)
    waiting = ((first, items(first, min(first + step, num_items))) for first in firsts)
    if workers > 1 and len(firsts) >= SPREAD_CHUNKS:
        yield from _spread(decoder, waiting, min(workers, len(firsts)), target)
    else:
        yield from (decoder(chunk) for _, chunk in waiting)


def write_at(descriptor: int, data: memoryview, place: int) -> None:
    """Write all bytes at a place of a file, however many calls the system wants for it."""
    data = data.cast("B") if data.nbytes else data
    while data.nbytes:
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


def sums_of(images: Pixels) -> NDArray[np.int64]:
    """Sums of the values and of their squares in each channel, exactly.

    Args:
        images: uint8 (images, height, width, channels).

    Returns:
        (2, channels).
    """
    num_images, height, width, channels = images.shape
    rows = images.reshape(num_images * height, width * channels)
    sums, ones = np.zeros((2, width * channels)), np.ones(SUMMED_ROWS, np.float32)
    block = np.empty((SUMMED_ROWS, width * channels), np.float32)
    for first in range(0, len(rows), SUMMED_ROWS):
        part = rows[first : first + SUMMED_ROWS]
        values, weights = block[: len(part)], ones[: len(part)]
        values[...] = part
        sums[0] += weights @ values
        np.square(values, out=values)
        sums[1] += weights @ values
    totals: NDArray[np.int64] = sums.reshape(2, width, channels).sum(axis=1).astype(np.int64)
    return totals


Waiting: TypeAlias = Iterator[tuple[int, Sequence[Item]]]
"""Of each chunk the number of its first item, and the items."""


def _spread(decoder: Decoder, waiting: Waiting, workers: int, target: Target) -> Iterator[Chunk]:
    pool = ProcessPoolExecutor(workers, _context(decoder), initializer=_start, initargs=(decoder, target))
    pending: deque[Future[Chunk]] = deque()
    try:
        for first, chunk in waiting:
            if len(pending) == CHUNKS_AHEAD * workers:
                yield pending.popleft().result()
            pending.append(pool.submit(_work, first, chunk))
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise ValueError(
            "prepare: a decoding process died, perhaps out of memory; what is done is kept, try --workers 1"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _context(decoder: Decoder) -> BaseContext:
    """Processes come from one that has loaded everything and has no threads; this one may hold some (a progress bar),

    and a fork would copy their locks.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *([] if decoder.halve is None else ["torch"])])
    return context


def _start(decoder: Decoder, target: Target) -> None:
    _worker.decoder, _worker.target = decoder, target
    threadpool_limits(1)  # there is a process for every core
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A parent that is killed tells nobody, and its workers would wait for the next chunk forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(first: int, items: Sequence[Item]) -> Chunk:
    decoder, target = _worker.decoder, _worker.target
    assert decoder is not None
    assert target is not None
    chunk = decoder(items)
    if chunk.images is not None:
        if _worker.descriptor < 0:
            _worker.descriptor = os.open(target.path, os.O_WRONLY | os.O_CLOEXEC)
        write_at(_worker.descriptor, chunk.images.data, target.first + first * decoder.image_bytes)
        chunk.images = None
    return chunk


def _digest(content: bytes | Pixels) -> bytes:
    data = content if isinstance(content, bytes) else np.ascontiguousarray(content).data
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


def _reason(error: BaseException) -> str:
    """Why, without addresses or paths: it goes into the manifest."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known kind"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
