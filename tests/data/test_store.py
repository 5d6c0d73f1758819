"""The prepared store: bytes of np.save, memory maps, and friendly refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ddpm.data.store import open_split, read_manifest, write_images, write_labels


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, images: NDArray[np.uint8]) -> Path:
    write_images(tmp_path / "train.npy", images.shape, iter([images[:7], images[7:]]))
    write_labels(tmp_path / "train_labels.npy", np.arange(10))
    return tmp_path


def test_round_trip(folder: Path, images: NDArray[np.uint8]) -> None:
    split = open_split(folder, "train")
    np.testing.assert_array_equal(split.images, images)
    np.testing.assert_array_equal(split.labels, np.arange(10))
    assert isinstance(split.images, np.memmap)
    assert not split.images.flags.writeable
    assert split.labels.dtype == np.int64


@pytest.mark.parametrize("count", [0, 10])
def test_streamed_bytes_are_those_of_np_save(tmp_path: Path, images: NDArray[np.uint8], count: int) -> None:
    # Under any suffix: the engine gives a temporary name, and np.save would add .npy to it.
    write_images(tmp_path / "train.npy.tmp", (count, 4, 4, 3), (image[None] for image in images[:count]))
    np.save(tmp_path / "expected.npy", images[:count])
    assert (tmp_path / "train.npy.tmp").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    write_labels(tmp_path / "labels.tmp", np.arange(count))
    assert (tmp_path / "labels.tmp").is_file()


def test_an_empty_split_opens(tmp_path: Path) -> None:
    write_images(tmp_path / "valid.npy", (0, 8, 8, 1), [])
    write_labels(tmp_path / "valid_labels.npy", np.empty(0, dtype=np.int64))
    split = open_split(tmp_path, "valid")
    assert split.images.shape == (0, 8, 8, 1)
    assert split.labels.shape == (0,)


@pytest.mark.parametrize("name", ["train.npy", "train_labels.npy"])
@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_truncated_files_are_refused(folder: Path, name: str, size: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        ValueError, match=rf"{name}: must be a whole .npy file \(.+\); run `python -m ddpm prepare` again$"
    ):
        open_split(folder, "train")


@pytest.mark.parametrize("name", ["train.npy", "train_labels.npy"])
def test_missing_files_are_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: the data are not prepared; run `python -m ddpm prepare`$"):
        open_split(folder, "train")


@pytest.mark.parametrize(
    ("name", "array", "rule"),
    [
        ("train.npy", np.zeros((10, 4, 4, 3)), r"must hold uint8 images .*got float64 \(10, 4, 4, 3\)"),
        ("train.npy", np.zeros((10, 3, 4, 4), dtype=np.uint8), r"must hold uint8 images"),
        ("train_labels.npy", np.zeros(9, dtype=np.int64), r"one int64 label for each of 10 images, got int64 \(9,\)"),
        ("train_labels.npy", np.zeros(10, dtype=np.int32), r"one int64 label"),
        ("train_labels.npy", np.array([{}] * 10), r"must be a whole .npy file"),  # a pickle is never opened
    ],
)
def test_other_arrays_are_refused(folder: Path, name: str, array: NDArray[np.generic], rule: str) -> None:
    np.save(folder / name, array)
    with pytest.raises(ValueError, match=rule):
        open_split(folder, "train")


@pytest.mark.parametrize("count", [9, 11])
def test_another_number_of_images_is_our_bug(tmp_path: Path, images: NDArray[np.uint8], count: int) -> None:
    with pytest.raises(AssertionError, match="10 images written"):
        write_images(tmp_path / "train.npy", (count, 4, 4, 3), [images])


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        (lambda path: path.unlink(), r"the data are not prepared; run"),
        (lambda path: path.write_text('{"source": '), r"must be a JSON object; run `python -m ddpm prepare` again$"),
        (lambda path: path.write_text("[]"), r"must be a JSON object"),
        (lambda path: path.write_bytes(b"\xff\xfe\xfa"), r"must be a JSON object"),
    ],
)
def test_manifest(tmp_path: Path, break_it: Callable[[Path], object], rule: str) -> None:
    (tmp_path / "manifest.json").write_text('{"source": "digits"}')
    assert read_manifest(tmp_path) == {"source": "digits"}
    break_it(tmp_path / "manifest.json")
    with pytest.raises(ValueError, match=rule):
        read_manifest(tmp_path)
