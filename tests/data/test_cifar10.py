"""CIFAR-10: a made-up binary archive comes back pixel for pixel; anything else is refused."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ddpm.data.catalog import Catalog
from ddpm.data.cifar10 import BATCHES, CLASSES, open_cifar10

IMAGES = 3
NAMES = [name for names in BATCHES.values() for name in names]


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6 * IMAGES, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def batches(pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    labels = np.arange(len(pixels), dtype=np.uint8)[:, None] % 10
    records = np.concatenate([labels, pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)], axis=1)
    return {name: records[IMAGES * i : IMAGES * (i + 1)].tobytes() for i, name in enumerate(NAMES)}


def write_archive(raw: Path, batches: dict[str, bytes]) -> str:
    path = raw / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in sorted(batches.items(), reverse=True):  # the order inside must not matter
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_folder(raw: Path, batches: dict[str, bytes]) -> None:
    (raw / "cifar-10-batches-bin").mkdir()
    for name, content in batches.items():
        (raw / "cifar-10-batches-bin" / name).write_bytes(content)


def all_pixels(catalog: Catalog) -> NDArray[np.uint8]:
    return np.stack([np.asarray(catalog.read(name)) for name in catalog.names])


def test_round_trip_through_archive_and_folder(
    tmp_path: Path, pixels: NDArray[np.uint8], batches: dict[str, bytes]
) -> None:
    write_folder(tmp_path, batches)
    from_folder = open_cifar10(tmp_path, "class", batch_images=IMAGES)
    md5 = write_archive(tmp_path, batches)
    from_archive = open_cifar10(tmp_path, "class", md5=md5, batch_images=IMAGES)
    assert from_archive.record == {"archive": "cifar-10-binary.tar.gz", "archive_md5": md5}
    assert from_folder.record["archive"] == "cifar-10-batches-bin"
    for catalog in (from_folder, from_archive):
        np.testing.assert_array_equal(all_pixels(catalog), pixels)
        assert catalog.labels.tolist() == [number % 10 for number in range(18)]
        assert catalog.classes == CLASSES
        assert catalog.splits["train"].tolist() == list(range(15))
        assert catalog.splits["test"].tolist() == [15, 16, 17]
        assert len(catalog.splits["all"]) == 18


def test_another_archive_is_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    md5 = write_archive(tmp_path, batches)
    with pytest.raises(ValueError, match=rf"tar.gz: md5 must be c32a1d4ab5d03f1284b67883e8d87530, got {md5}; download"):
        open_cifar10(tmp_path, "class")


def test_a_damaged_archive_is_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_archive(tmp_path, batches)
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:3000])
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    with pytest.raises(ValueError, match=r"must be a whole tar.gz .*download it again"):
        open_cifar10(tmp_path, "class", md5=md5, batch_images=IMAGES)


def test_missing_files_are_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz or the folder .* must be here; .*data/README.md"):
        open_cifar10(tmp_path, "class")
    lacking = {name: content for name, content in batches.items() if name != "data_batch_4.bin"}
    write_folder(tmp_path, lacking)
    with pytest.raises(ValueError, match=r"all six .bin files must be here"):
        open_cifar10(tmp_path, "class")
    md5 = write_archive(tmp_path, lacking)
    with pytest.raises(ValueError, match=r"must hold cifar-10-batches-bin/data_batch_4.bin"):
        open_cifar10(tmp_path, "class", md5=md5, batch_images=IMAGES)


def test_short_batches_and_wrong_labels_are_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_folder(tmp_path, batches | {"test_batch.bin": batches["test_batch.bin"][:-1]})
    with pytest.raises(ValueError, match=r"test_batch.bin must hold 3 records of 3073 bytes, got 9218 bytes"):
        open_cifar10(tmp_path, "class", batch_images=IMAGES)
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"\x0b" + batches["test_batch.bin"][1:])
    with pytest.raises(ValueError, match=r"labels of test_batch.bin must be 0..9, got 11"):
        open_cifar10(tmp_path, "class", batch_images=IMAGES)


def test_labels(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_folder(tmp_path, batches)
    assert open_cifar10(tmp_path, "none", batch_images=IMAGES).classes == ()
    with pytest.raises(ValueError, match=r"data.labels must be class or none for cifar10, got digit$"):
        open_cifar10(tmp_path, "digit", batch_images=IMAGES)
