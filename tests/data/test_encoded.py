"""The encoded store: the pixels of the array store in fewer bytes, numpy's rules of indexing, and damage is seen."""

import multiprocessing
import re
import struct
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image

from ddpm.data import encoded
from ddpm.data.encoded import HEADER_BYTES, EncodedImages, encode, open_encoded
from ddpm.data.store import open_split, write_labels

Pixels = NDArray[np.uint8]
COUNT = 10


@pytest.fixture(scope="module", params=[1, 3])
def images(request: pytest.FixtureRequest) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 5, 7, request.param), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path, images: Pixels, write_encoded: Callable[[Path, Pixels], None]) -> Path:
    write_encoded(tmp_path / "train.npy", images)
    write_labels(tmp_path / "train_labels.npy", np.arange(COUNT))
    return tmp_path / "train.npy"


def opened(path: Path) -> EncodedImages:
    return open_encoded(path, np.load(path, mmap_mode="r", allow_pickle=False))


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    levels=st.integers(1, 256),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_image_comes_back(height: int, width: int, channels: int, levels: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, levels, (height, width, channels)).astype(np.uint8)
    content = encode(image)
    assert encode(image[::-1].copy()[::-1]) == content  # the same for another layout in memory
    data = np.frombuffer(content + encoded.trailer(np.array([0, len(content)]), image.shape), np.uint8)
    np.testing.assert_array_equal(open_encoded(Path(), data)[0], image)


@pytest.mark.parametrize("gray", [False, True])
def test_photographs_take_clearly_less(gray: bool) -> None:
    photo = load_sample_image("china.jpg")
    for top, left in ((0, 0), (100, 200), (170, 380)):
        image = photo[top : top + 256, left : left + 256, : 1 if gray else 3]
        assert len(encode(image)) < 0.8 * image.size


def test_the_file_is_an_array_of_bytes(path: Path, tmp_path: Path) -> None:
    array = np.load(path, allow_pickle=False)
    assert (array.dtype, array.ndim) == (np.uint8, 1)
    np.save(tmp_path / "again.npy", array)
    assert (tmp_path / "again.npy").read_bytes() == path.read_bytes()
    assert {len(encoded.npy_header((num_bytes,))) for num_bytes in (0, 1, 10**12, 2**62)} == {HEADER_BYTES}


def test_a_split_opens_as_if_it_were_an_array(path: Path, images: Pixels) -> None:
    split = open_split(path.parent, "train")
    found = split.images
    assert isinstance(found, EncodedImages)
    assert (found.shape, found.dtype, found.ndim) == (images.shape, images.dtype, images.ndim)
    assert (len(found), found.size, found.nbytes) == (COUNT, images.size, images.nbytes)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(split.labels, np.arange(COUNT))
    assert np.array(found, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="got copy=False"):
        np.array(found, copy=False)


def test_an_empty_split_opens(tmp_path: Path, write_encoded: Callable[[Path, Pixels], None]) -> None:
    write_encoded(tmp_path / "valid.npy", np.empty((0, 8, 9, 3), np.uint8))
    write_labels(tmp_path / "valid_labels.npy", np.empty(0, dtype=np.int64))
    found = open_split(tmp_path, "valid").images
    assert found.shape == (0, 8, 9, 3)
    assert np.asarray(found).shape == (0, 8, 9, 3)
    assert list(found) == []


def test_labels_are_counted(path: Path) -> None:
    write_labels(path.with_name("train_labels.npy"), np.arange(COUNT - 1))
    with pytest.raises(ValueError, match=r"one int64 label for each of 10 images, got int64 \(9,\)"):
        open_split(path.parent, "train")


KEYS: list[Any] = [
    *(0, 3, -1, -COUNT, np.int64(4), np.uint8(9)),
    *(np.array(5), np.array([0, 9, 3, 3]), np.array([-1, 2, -10]), np.array([7], np.int32), np.array([2], np.uint64)),
    *(np.array([[1, 2, 3], [4, -5, 6]]), np.empty(0, np.int64), np.empty((0, 2), np.int64), [8, 1]),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.parametrize("view", [slice(None), slice(2, 8, 3), slice(None, None, -1)], ids=repr)
def test_integers_choose_as_in_numpy(path: Path, images: Pixels, key: Any, view: slice) -> None:
    lazy, array = opened(path)[view], images[view]
    assert isinstance(lazy, EncodedImages)
    try:
        expected = array[key]
    except IndexError as error:
        with pytest.raises(IndexError, match=f"^{re.escape(str(error))}$"):
            lazy[key]
    else:
        found = lazy[key]
        assert (found.shape, found.dtype) == (expected.shape, np.uint8)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("key", [10, -11, np.array([0, 10]), np.array([[-11]]), np.array([0.0]), 1.0, "a"], ids=repr)
def test_numpys_errors(path: Path, images: Pixels, key: Any) -> None:
    with pytest.raises(IndexError) as expected:
        images[key if not isinstance(key, float | str) else np.asarray(key)]
    with pytest.raises(IndexError, match=f"^{re.escape(str(expected.value))}$"):
        opened(path)[key]


@pytest.mark.parametrize("key", [(0, 0), (slice(None), 0), np.arange(COUNT) < 3, True], ids=repr)
def test_axes_and_masks_are_refused(path: Path, key: Any) -> None:
    with pytest.raises(IndexError, match="must be indexed by a slice, an integer or integers, got "):
        opened(path)[key]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the images that are decoded from now on."""
    numbers: list[int] = []
    original = EncodedImages._image

    def counted(self: EncodedImages, number: int) -> Pixels:
        numbers.append(number)
        return original(self, number)

    monkeypatch.setattr(EncodedImages, "_image", counted)
    return numbers


def test_slices_decode_nothing(path: Path, images: Pixels, decoded: list[int]) -> None:
    part = opened(path)[1:][:6:2]
    assert part.shape == (3, *images.shape[1:])
    assert decoded == []
    np.testing.assert_array_equal(part, images[1:][:6:2])
    assert sorted(decoded) == [1, 3, 5]


def test_iteration_decodes_a_block_at_a_time(
    path: Path, images: Pixels, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded, "ITERATED_BYTES", 4 * images[0].size)
    walk = iter(opened(path))
    for number in range(COUNT):
        np.testing.assert_array_equal(next(walk), images[number])
        assert len(decoded) == min(4 * (number // 4 + 1), COUNT)
    with pytest.raises(StopIteration):
        next(walk)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(path: Path, images: Pixels, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(encoded, "THREADS", threads)
    chosen = np.random.default_rng(1).integers(0, COUNT, 500)
    np.testing.assert_array_equal(opened(path)[chosen], images[chosen])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # newer Pythons dislike what is tested here
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_have_threads_of_their_own(
    path: Path, images: Pixels, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(encoded, "THREADS", 2)
    np.testing.assert_array_equal(opened(path), images)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as child:
        np.testing.assert_array_equal(child.submit(np.asarray, opened(path)).result(), images)


@pytest.mark.parametrize("place", [0, 12, 30, -5, -1])
def test_a_flipped_bit_is_seen(path: Path, images: Pixels, place: int) -> None:
    offsets, content = opened(path).offsets, bytearray(path.read_bytes())
    first, last = int(offsets[4]), int(offsets[5])
    content[HEADER_BYTES + (first if place >= 0 else last) + place] ^= 1
    path.write_bytes(content)
    found = opened(path)
    others = np.delete(np.arange(COUNT), 4)
    np.testing.assert_array_equal(found[others], images[others])
    rule = r"train.npy: image 4 must be whole, got another checksum; run `python -m ddpm prepare` again$"
    for read in (lambda: found[4], lambda: found[np.arange(COUNT)], lambda: found[3:][1], lambda: list(found)):
        with pytest.raises(ValueError, match=rule):
            read()


def test_the_first_of_several_damaged_images_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    monkeypatch.setattr(encoded, "THREADS", 4)
    offsets, content = opened(path).offsets, bytearray(path.read_bytes())
    for number in (3, 7, 9):
        content[HEADER_BYTES + int(offsets[number])] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="image 3 must be whole"):
        np.asarray(opened(path))


def test_images_of_another_size_than_announced_are_refused(path: Path, images: Pixels) -> None:
    array = np.load(path, allow_pickle=False)
    found = open_encoded(path, swap(array, height=7, width=5))
    with pytest.raises(ValueError, match=r"image 0 must be whole, got pixels of shape \(5, 7"):
        found[0]


def swap(array: Pixels, **fields: int) -> Pixels:
    """The file with other numbers in its trailer."""
    names = ("count", "height", "width", "channels", "start")
    mark, *values = struct.unpack("<8s5q", array[-48:].tobytes())
    packed = struct.pack("<8s5q", mark, *(dict(zip(names, values, strict=True)) | fields).values())
    return np.concatenate([array[:-48], np.frombuffer(packed, np.uint8)])


def offsets_changed(array: Pixels, number: int, by: int) -> Pixels:
    *_, start = struct.unpack("<8s5q", array[-48:].tobytes())
    changed = array.copy()
    changed[start : len(array) - 48].view("<i8")[number] += by
    return changed


@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (lambda array: array[:0], "no index at the end"),
        (lambda array: array[-47:], "no index at the end"),
        (lambda array: array[:-1], "no index at the end"),
        (lambda array: np.append(array, np.uint8(0)), "no index at the end"),
        (lambda array: np.arange(1000).astype(np.uint8), "no index at the end"),
        (lambda array: array[8:], "an index of 80 bytes for 10 images"),
        (lambda array: swap(array, count=9), r"an index of 88 bytes for 9 images"),
        (lambda array: swap(array, count=-1), r"-1 images of 5x7x\d with an index at \d+"),
        (lambda array: swap(array, start=-8), r"10 images of 5x7x\d with an index at -8"),
        (lambda array: swap(array, start=3), "with an index at 3"),
        (lambda array: swap(array, height=0), "10 images of 0x7"),
        (lambda array: swap(array, width=-7), "10 images of 5x-7"),
        (lambda array: swap(array, channels=4), "10 images of 5x7x4"),
        (lambda array: offsets_changed(array, 0, 1), "places do not rise"),
        (lambda array: offsets_changed(array, 4, -(2**40)), "places do not rise"),
        (lambda array: offsets_changed(array, 4, 2**40), "places do not rise"),
        (lambda array: offsets_changed(array, -1, 16), "places do not rise"),
        (lambda array: offsets_changed(array, -1, -16), "places do not rise"),
    ],
)
def test_a_broken_index_is_refused(path: Path, break_it: Callable[[Pixels], Pixels], found: str) -> None:
    np.save(path, break_it(np.load(path, allow_pickle=False)))
    rule = r"train.npy: a one-dimensional array must hold encoded images and their index, got .*"
    with pytest.raises(ValueError, match=rule + found) as refused:
        open_split(path.parent, "train")
    assert str(refused.value).endswith("; run `python -m ddpm prepare` again")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [0, 5, HEADER_BYTES, HEADER_BYTES + 100, -1])
def test_a_truncated_file_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"train.npy: must be a whole .npy file \(.+\); run .* again$"):
        open_split(path.parent, "train")


def test_a_file_without_its_header_is_refused(path: Path) -> None:
    path.write_bytes(bytes(HEADER_BYTES) + path.read_bytes()[HEADER_BYTES:])  # it was killed before the end
    with pytest.raises(ValueError, match=r"train.npy: must be a whole .npy file"):
        open_split(path.parent, "train")
