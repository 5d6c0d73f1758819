"""From items to chunks: blocks, digests, exact sums, and who gets the pixels."""

import gc
import io
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from xxhash import xxh3_128_digest

from ddpm.data import decode as room
from ddpm.data.catalog import ArrayReader, Item
from ddpm.data.decoder import BLOCK_IMAGES, SCRATCH_BYTES, SUMMED_ROWS, Decoder, sums_of

Pixels = NDArray[np.uint8]


@pytest.mark.parametrize("shape", [(1, 300, 5, 3), (7, 64, 64, 3), (3, 8, 8, 1), (5, SUMMED_ROWS, 2, 3), (0, 4, 4, 3)])
@pytest.mark.parametrize("make", [np.zeros, lambda shape: np.full(shape, 255), None])
def test_sums_are_exact(shape: tuple[int, ...], make: Callable[[tuple[int, ...]], NDArray[np.float64]] | None) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, shape, dtype=np.uint8) if make is None else make(shape).astype(np.uint8)
    whole = images.astype(np.int64)
    expected = np.stack([whole.sum(axis=(0, 1, 2)), (whole**2).sum(axis=(0, 1, 2))])
    np.testing.assert_array_equal(sums_of(images), expected)


@pytest.mark.parametrize("count", [0, 1, BLOCK_IMAGES, 2 * BLOCK_IMAGES + 3])
def test_pixels_come_with_the_chunk_or_are_taken_block_by_block(count: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    items = [Item(str(number), (number,)) for number in range(count)]
    decoder = Decoder(lambda item: frames[item.place[0]], "none", "crop", (6, 6, 3))
    chunk = decoder(items)
    np.testing.assert_array_equal(chunk.images, frames)
    taken: list[Pixels] = []
    other = decoder(items, lambda images: taken.append(images.copy()))
    assert other.images is None
    np.testing.assert_array_equal(np.concatenate(taken), frames)
    np.testing.assert_array_equal(chunk.digests, other.digests)
    for frame, digest in zip(frames, chunk.digests, strict=True):
        assert digest.tobytes() == 2 * xxh3_128_digest(frame.tobytes())  # of the file, of the image


def test_large_images_are_a_block_each() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 600, 600, 3), dtype=np.uint8)
    sizes: list[int] = []
    decoder = Decoder(lambda item: frames[item.place[0]], "none", "crop", (600, 600, 3))
    decoder([Item("a", (0,)), Item("b", (1,))], lambda images: sizes.append(len(images)))
    assert [size for size in sizes if size] == [1, 1]


def test_memory_that_photographs_are_decoded_into_is_used_again_for_none_that_is_kept() -> None:
    sides = (8, 32, 8, int((SCRATCH_BYTES / 3) ** 0.5) + 1, 16, 8)  # one of them is larger than that memory
    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for side in sides]
    contents = []
    for photograph in photographs:
        photograph.save(buffer := io.BytesIO(), "JPEG")
        contents.append(buffer.getvalue())
    decoder = Decoder(lambda item: contents[item.place[0]], "squash", "bilinear", (8, 8, 3))
    found = decoder([Item(str(number), (number,)) for number in range(len(sides))]).images
    for image, content in zip(found, contents, strict=True):
        wanted = Image.open(io.BytesIO(content)).resize((8, 8), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(wanted))


def test_processes_collect_garbage_that_come_from_one_that_does_not(tmp_path: Path) -> None:
    decoder = Decoder(ArrayReader(np.zeros((1, 2, 2, 3), np.uint8)), "none", "crop", (2, 2, 3))
    for initializer, arguments in ((None, ()), (room._start, (decoder, room.Target(tmp_path, 0)))):
        with ProcessPoolExecutor(1, room._context(torch=False), initializer, arguments) as pool:
            assert pool.submit(gc.isenabled).result() == (initializer is not None)


def test_writing_goes_on_where_the_system_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = bytearray(20)

    def three_bytes(_: int, data: memoryview, place: int) -> int:
        written[place : place + len(data[:3])] = data[:3]
        return len(data[:3])

    monkeypatch.setattr(room.os, "pwrite", three_bytes)
    room.write_at(0, np.arange(1, 17, dtype=np.uint8).reshape(4, 4).data, 2)
    assert written == bytes([0, 0, *range(1, 17), 0, 0])
    room.write_at(0, memoryview(b""), 0)
