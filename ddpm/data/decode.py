"""Files to pixels, over processes: the bytes depend neither on how many there are nor on which is faster."""

import multiprocessing
import struct
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.data.crops import apply_crop

DAMAGE = (
    OSError,  # truncated, not an image, unreadable
    SyntaxError,  # a broken PNG
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,  # the zip's checksum
    RuntimeError,  # an encrypted entry
    Image.DecompressionBombError,
)
"""What a reader raises for a damaged file; anything else is our bug and stops the run."""

CHUNK_IMAGES = 256
SPREAD_CHUNKS = 8
"""Fewer chunks than this are done here before other processes have started."""

CHUNKS_AHEAD = 2
"""Chunks in flight per process: what bounds the memory, whatever the number of images."""

Chunk: TypeAlias = tuple[NDArray[np.uint8], list[str]]
"""(images, size, size, channels), and the names of damaged files, whose images are black."""


@dataclass(frozen=True)
class Decoder:
    """Reads and crops named items; travels to other processes by pickle."""

    read: Callable[[str], Image.Image]
    crop: str
    size: int
    channels: int

    def __call__(self, names: Sequence[str]) -> Chunk:
        """Decode some items, noting the damaged ones.

        Raises:
            ValueError: a whole frame that the crop is not defined on: the setting is wrong, not one file.
        """
        images = np.zeros((len(names), self.size, self.size, self.channels), dtype=np.uint8)
        damaged = []
        for row, name in enumerate(names):
            try:
                frame = self.read(name)
            except DAMAGE:
                damaged.append(name)
                continue
            try:
                images[row] = apply_crop(frame, self.crop, self.size, self.channels)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return images, damaged


def decode(
    decoder: Decoder, names: Sequence[str], *, workers: int, tick: Callable[[int], object] = lambda _: None
) -> Iterator[Chunk]:
    """Decode items chunk by chunk, in the order of `names`.

    Args:
        decoder: how an item becomes pixels.
        names: the items.
        workers: processes; 1, or few images, decode in this one.
        tick: called with the number of images that a finished chunk adds.

    Raises:
        ValueError: a frame that the crop is not defined on, or a process that died.
    """
    chunks = [names[start : start + CHUNK_IMAGES] for start in range(0, len(names), CHUNK_IMAGES)]
    results = (
        _spread(decoder, chunks, workers) if workers > 1 and len(chunks) >= SPREAD_CHUNKS else map(decoder, chunks)
    )
    for images, damaged in results:
        yield images, damaged
        tick(len(images))


def _spread(decoder: Decoder, chunks: Sequence[Sequence[str]], workers: int) -> Iterator[Chunk]:
    # spawn, not fork: the parent may hold threads (torch, a progress bar), and a fork would copy their locks
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(chunks)), context, initializer=_start, initargs=(decoder,))
    pending: deque[Future[Chunk]] = deque()
    waiting = iter(chunks)
    try:
        for chunk in waiting:
            pending.append(pool.submit(_work, chunk))
            if len(pending) >= CHUNKS_AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise ValueError("prepare: a decoding process died, perhaps out of memory; try --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


_decoder: Decoder | None = None
"""Of a worker process: sent once instead of with every chunk, and with it the open zip."""


def _start(decoder: Decoder) -> None:
    global _decoder
    _decoder = decoder


def _work(names: Sequence[str]) -> Chunk:
    assert _decoder is not None
    return _decoder(names)
