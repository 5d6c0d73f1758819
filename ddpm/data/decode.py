"""Items to prepared images over processes: the bytes depend neither on how many there are nor on which is faster.

Processes write pixels where they belong, into the file of the split, on the assumption that every item before is whole;
what comes behind a damaged item is moved later (`ddpm.engine.growing`).
"""

import gc
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ddpm.data.catalog import Items
from ddpm.data.decoder import Chunk, Decoder, Pixels

CHUNK_IMAGES, CHUNK_BYTES = 512, 2**23
"""A chunk, what processes send each other at once, has as many images as both allow, and at least one."""
CHUNKS_AHEAD = 2
"""Chunks in flight per process: what bounds the memory, whatever the number of images."""
SPREAD_CHUNKS = 8
"""Fewer chunks than this are done here before other processes have started."""


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
    items: Callable[[int, int], Items],
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
        done: so many of the first items are left out.

    Raises:
        ValueError: a frame that the crop is not defined on, or a process that died.
    """
    step = min(max(CHUNK_BYTES // decoder.image_bytes, 1), CHUNK_IMAGES)
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


Waiting: TypeAlias = Iterator[tuple[int, Items]]
"""Of each chunk the number of its first item, and the items."""


def _spread(decoder: Decoder, waiting: Waiting, workers: int, target: Target) -> Iterator[Chunk]:
    context = _context(torch=decoder.halve is not None)
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(decoder, target))
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


def load_early() -> None:
    """Begin to load torch in the process that others will come from, and halve images; it takes two seconds."""
    _context(torch=True)
    forkserver.ensure_running()


def _context(*, torch: bool) -> BaseContext:
    """Processes come from one that has loaded all they need; a fork of this one would copy the locks of its threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ddpm.data.nursery", __name__, *(["torch"] if torch else [])])
    return context


def _start(decoder: Decoder, target: Target) -> None:
    _worker.decoder, _worker.target = decoder, target
    gc.freeze()  # what is loaded stays: to look through it for garbage again and again would cost a hundredth
    gc.enable()
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A parent that is killed tells nobody, and its workers would wait for the next chunk forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(first: int, items: Items) -> Chunk:
    decoder, target = _worker.decoder, _worker.target
    assert decoder is not None
    assert target is not None
    if _worker.descriptor < 0:
        _worker.descriptor = os.open(target.path, os.O_WRONLY | os.O_CLOEXEC)
    place = target.first + first * decoder.image_bytes

    def write(images: Pixels) -> None:
        nonlocal place
        write_at(_worker.descriptor, images.data, place)
        place += images.nbytes

    return decoder(items, write)
