"""Items to prepared images, their digests and sums: read and decoded one by one, then summed and handed on by blocks.

A block is small enough for the caches, and large enough that what is done once for all of it costs little: torch takes
as long to begin to halve as to halve six images.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from xxhash import xxh3_128_digest

from ddpm.data.catalog import Item, Items
from ddpm.data.crops import BILINEAR, apply_crop
from ddpm.data.encoded import encode
from ddpm.data.frames import DAMAGE, Frame, from_pixels, open_frame, require_same_pixels, strictly

DIGEST_BYTES = 16
"""Of XXH3, which an item's file has, and its prepared pixels: it tells any number of images apart."""
BLOCK_IMAGES, BLOCK_BYTES = 64, 2**20
"""A block has as many images as both allow, and at least one."""
SCRATCH_BYTES = 2**18
"""For the pixels of a frame, such as a photograph of CelebA; larger ones get memory of their own."""
SUMMED_ROWS = 256
"""Of pixels: so many squares of 8 bits have a sum below 2**24, and are exact in float32."""

Pixels: TypeAlias = NDArray[np.uint8]
Halve: TypeAlias = Callable[[Pixels], Pixels]
"""(images, 2 height, 2 width, 3) -> (images, height, width, 3), with the pixels of Pillow's bilinear kernel."""
Take: TypeAlias = Callable[[Pixels], object]
"""Gets prepared images (images, height, width, channels), block by block, in an array that is used again."""


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

    def __call__(self, items: Items | Sequence[Item], take: Take | None = None) -> Chunk:
        """Prepare some items, noting the damaged ones.

        Args:
            items: in the order of the images.
            take: what gets the images; without it, and unless they are encoded, the chunk has them.

        Raises:
            ValueError: a whole frame that the crop is not defined on: the setting is wrong, not one file.
        """
        block = _Block(self, take)
        scratch = np.empty(SCRATCH_BYTES, np.uint8)
        of_files: list[bytes] = []
        failures: list[Failure] = []
        notes: Counter[str] = Counter()
        with strictly():
            for row, item in enumerate(items):
                try:
                    content, frame = self._open(item, scratch)
                except DAMAGE as error:
                    failures.append(Failure(row, item.name, _reason(error)))
                    continue
                if row == 0 and isinstance(content, bytes):
                    require_same_pixels(content, item.name)
                block.add(self._prepare(item, frame, notes))
                of_files.append(_digest(content))
        block.finish()
        digests = b"".join(chain.from_iterable(zip(of_files, block.digests, strict=True)))
        return Chunk(
            images=block.images if take is None and not self.lossless else None,
            encoded=block.encoded if self.lossless else None,
            digests=np.frombuffer(digests, np.uint8).reshape(-1, 2 * DIGEST_BYTES),
            failures=failures,
            notes=notes,
            sums=block.sums,
            num_items=len(items),
        )

    def halves(self, item: Item) -> bool:
        """Whether `halve` would be called for an item, as far as the item is whole."""
        try:
            return self._prepare(item, self._open(item, None)[1], Counter()).shape != self.shape
        except DAMAGE:
            return False

    def _open(self, item: Item, scratch: Pixels | None) -> tuple[bytes | Pixels, Frame]:
        content = self.read(item)
        return content, open_frame(content, scratch) if isinstance(content, bytes) else from_pixels(content)

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


class _Block:
    """Images of a chunk on their way: some are collected, then they are digested, summed and handed on.

    Args:
        decoder: theirs.
        take: what gets them, or None.

    Attributes:
        digests: of all that were handed on.
        sums: (2, channels), theirs.
        encoded: themselves, if the decoder is lossless.
    """

    def __init__(self, decoder: Decoder, take: Take | None) -> None:
        self._decoder, self._take = decoder, take
        height, width, channels = decoder.shape
        self._length = min(max(BLOCK_BYTES // decoder.image_bytes, 1), BLOCK_IMAGES)
        self._block = np.empty((self._length, *decoder.shape), np.uint8)
        self._cuts = np.empty((self._length, 2 * height, 2 * width, channels), np.uint8) if decoder.halve else None
        self._halved: list[int] = []
        self._kept: list[Pixels] = []
        self._filled = 0
        self._compared = False
        self.digests: list[bytes] = []
        self.sums = np.zeros((2, channels), np.int64)
        self.encoded: list[bytes] = []

    def add(self, cut: Pixels) -> None:
        """Add an image, or what `halve` makes one of."""
        if cut.shape == self._block.shape[1:]:
            self._block[self._filled] = cut
        else:
            assert self._cuts is not None
            self._cuts[len(self._halved)] = cut
            self._halved.append(self._filled)
        self._filled += 1
        if self._filled == self._length:
            self.finish()

    def finish(self) -> None:
        """Hand on what is there.

        Raises:
            ValueError: the first of the halved ones differs from Pillow's.
        """
        if self._halved:
            self._halve()
        images = self._block[: self._filled]
        self.digests += [xxh3_128_digest(image.data) for image in images]
        self.sums += sums_of(images)
        if self._decoder.lossless:
            self.encoded += [encode(image) for image in images]
        elif self._take is not None:
            self._take(images)
        else:
            self._kept.append(images.copy())
        self._filled = 0

    @property
    def images(self) -> Pixels:
        """All of them, where nothing takes them."""
        return np.concatenate(self._kept)

    def _halve(self) -> None:
        assert self._cuts is not None
        assert self._decoder.halve is not None
        halves = self._decoder.halve(self._cuts[: len(self._halved)])
        self._block[self._halved] = halves
        self._halved.clear()
        if not self._compared:
            height, width, _ = self._decoder.shape
            wanted = Image.fromarray(self._cuts[0]).resize((width, height), BILINEAR)
            if not np.array_equal(halves[0], np.asarray(wanted)):
                raise ValueError(
                    f"prepare: torch and Pillow {PIL.__version__} must halve an image to the same pixels, got "
                    "different ones; install the versions of requirements.lock, or prepare with --workers 1"
                )
            self._compared = True


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


def _digest(content: bytes | Pixels) -> bytes:
    return xxh3_128_digest(content if isinstance(content, bytes) else np.ascontiguousarray(content).data)


def _reason(error: BaseException) -> str:
    """Why, without addresses or paths: it goes into the manifest."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known kind"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
