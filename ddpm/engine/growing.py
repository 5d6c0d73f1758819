"""A split while it is prepared: files that grow chunk by chunk, and go on where kill -9 stopped them.

Every two seconds a thread brings what has been written to the disk, and then a state that says how long the files are.
What lies behind that length is cut off when the work goes on, so the bytes are those of a run that was never stopped.
"""

import hashlib
import json
import mmap
import os
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data import encoded
from ddpm.data.decode import Target, write_at
from ddpm.data.decoder import DIGEST_BYTES, Chunk, Failure
from ddpm.digest import file_sha256
from ddpm.experiment.workspace import write_json

STATE_SECONDS = 2.0


@dataclass
class Progress:
    """How far a split has come.

    Attributes:
        items: that were decoded or failed.
        images: that were kept.
        data_bytes: of the images, without header and index.
        sums: (2, channels), of all values and of their squares.
        notes: how often each rule of `ddpm.data.frames` applied.
        failures: what could not be decoded; rows count within the split.
    """

    items: int = 0
    images: int = 0
    data_bytes: int = 0
    sums: list[list[int]] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


class GrowingSplit:
    """Images, digests and, where they are encoded, lengths of one split, in files of a working folder.

    Use it as a context to `append` chunks in order and to `save` them; `finish` afterwards.

    Args:
        folder: exists.
        split: its name.
        shape: (height, width, channels) of an image.
        num_items: that will come, damaged ones included.
        lossless: whether images come encoded.
    """

    def __init__(self, folder: Path, split: str, shape: tuple[int, int, int], num_items: int, lossless: bool) -> None:
        self.images, self._state = folder / f"{split}.npy", folder / f"{split}.json"
        self.target = Target(self.images, encoded.HEADER_BYTES)
        self._digests, self._lengths = folder / f"{split}.digests", folder / f"{split}.lengths"
        self.shape, self.lossless = shape, lossless
        nothing = Progress(sums=np.zeros((2, shape[2]), int).tolist())
        self.progress = _read_state(self._state) or nothing
        if any(_length(path) < end for path, end in self._ends().items()):  # it was killed while it put them in place
            self.progress = nothing
        self._num_items = num_items
        self._running = None if lossless or self.progress.items else hashlib.sha256(self._header(num_items))
        self._saved_at = time.monotonic()
        self._saving: Future[None] = Future()
        self._saving.set_result(None)

    def _ends(self) -> dict[Path, int]:
        """How long the files are, as far as they are safe."""
        done = self.progress
        return {
            self.images: self.target.first + done.data_bytes,
            self._digests: 2 * DIGEST_BYTES * done.images,
            self._lengths: 8 * done.images * self.lossless,
        }

    def __enter__(self) -> "GrowingSplit":
        with ExitStack() as stack:
            for path in self._ends():
                path.touch()
            self._files = [stack.enter_context(path.open("rb+", buffering=0)) for path in self._ends()]
            for file, end in zip(self._files, self._ends().values(), strict=True):
                file.truncate(end)
            self._saver = stack.enter_context(ThreadPoolExecutor(1))
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def append(self, chunk: Chunk) -> None:
        """Add a chunk; now and then what has been added becomes safe."""
        done = self.progress
        images, digests, lengths = (file.fileno() for file in self._files)
        if chunk.encoded is not None:
            content = b"".join(chunk.encoded)
            sizes = np.array([len(image) for image in chunk.encoded], np.int64)
            write_at(images, memoryview(content), self.target.first + done.data_bytes)
            write_at(lengths, sizes.data, 8 * done.images)
            done.data_bytes += len(content)
        else:
            self._add_pixels(images, chunk)
        write_at(digests, chunk.digests.data, 2 * DIGEST_BYTES * done.images)
        done.failures += [failure._replace(row=done.items + failure.row) for failure in chunk.failures]
        done.items += chunk.num_items
        done.images += len(chunk.digests)
        done.sums = (np.array(done.sums) + chunk.sums).tolist()
        done.notes = dict(Counter(done.notes) + chunk.notes)
        if time.monotonic() - self._saved_at > STATE_SECONDS and self._saving.done():
            self._begin_to_save()

    def _add_pixels(self, images: int, chunk: Chunk) -> None:
        """Bring the pixels of a chunk to their place, unless the process that made them has put them there."""
        done, image_bytes = self.progress, prod(self.shape)
        length = len(chunk.digests) * image_bytes
        if chunk.images is not None:
            pixels = chunk.images.reshape(-1).data
            write_at(images, pixels, self.target.first + done.data_bytes)
        else:
            pixels = _mapped(images, self.target.first + done.items * image_bytes, length)
            if done.images < done.items:
                pixels = memoryview(bytes(pixels))  # where it comes from and where it goes may overlap
                write_at(images, pixels, self.target.first + done.data_bytes)
        if self._running is not None:
            self._running.update(pixels)
        done.data_bytes += length

    def save(self) -> None:
        """Bring everything to the disk, and then the state that vouches for it."""
        self._saving.result()
        self._begin_to_save()
        self._saving.result()

    def _begin_to_save(self) -> None:
        self._saving.result()  # raises what the disk said of the one before
        state = {**vars(self.progress), "failures": list(self.progress.failures)}
        self._saving, self._saved_at = self._saver.submit(self._save, state), time.monotonic()

    def _save(self, state: Mapping[str, Any]) -> None:
        for file in self._files:
            os.fsync(file.fileno())
        write_json(self._state, state)

    def finish(self) -> None:
        """Write the header of the images, and the index of encoded ones, when all is appended and saved."""
        with self.images.open("rb+") as file:
            file.truncate(self.target.first + self.progress.data_bytes)  # behind damaged items others were moved up
            if self.lossless:
                lengths = np.fromfile(self._lengths, np.int64)
                index = encoded.trailer(np.concatenate([[0], np.cumsum(lengths)]), self.shape)
                file.seek(self.target.first + self.progress.data_bytes)
                file.write(index)
                header = encoded.npy_header((self.progress.data_bytes + len(index),))
            else:
                header = self._header(self.progress.images)
            file.seek(0)
            file.write(header)
            file.flush()
            os.fsync(file.fileno())

    @property
    def sha256(self) -> str:
        """Of the file of images, once it is finished: taken while it grew, or, if it grew in several runs, from it."""
        if self._running is not None and self.progress.images == self._num_items:  # the header was the right one
            return self._running.hexdigest()
        return file_sha256(self.images)

    def _header(self, num_images: int) -> bytes:
        return encoded.npy_header((num_images, *self.shape))

    @property
    def digests(self) -> NDArray[np.uint8]:
        """Of the images that were kept, (images, 32), once it is finished."""
        shape = self.progress.images, 2 * DIGEST_BYTES
        return np.memmap(self._digests, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)

    @property
    def kept(self) -> NDArray[np.int64]:
        """Which rows of the split the kept images are."""
        return np.delete(np.arange(self.progress.items), [failure.row for failure in self.progress.failures])


def _mapped(file: int, place: int, length: int) -> memoryview:
    """Bytes of a file, not copied."""
    if not length:
        return memoryview(b"")
    skipped = place % mmap.ALLOCATIONGRANULARITY
    pages = mmap.mmap(file, skipped + length, mmap.MAP_SHARED, mmap.PROT_READ, offset=place - skipped)
    return memoryview(pages)[skipped:]


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_state(path: Path) -> Progress | None:
    if not path.is_file():  # killed before the first one
        return None
    state: dict[str, Any] = json.loads(path.read_bytes())
    state["failures"] = [Failure(*failure) for failure in state["failures"]]
    return Progress(**state)
