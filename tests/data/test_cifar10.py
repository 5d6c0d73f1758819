"""CIFAR-10: a made-up binary archive comes back pixel for pixel, however it is packed; anything else is refused."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ddpm.data.catalog import Catalog
from ddpm.data.cifar10 import ARCHIVE, BATCHES, CLASSES, open_cifar10

IMAGES = 3
NAMES = [name for names in BATCHES.values() for name in names]
FOLDER = "cifar-10-batches-bin"


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6 * IMAGES, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def batches(pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    labels = np.arange(len(pixels), dtype=np.uint8)[:, None] % 10
    records = np.concatenate([labels, pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)], axis=1)
    return {name: records[IMAGES * i : IMAGES * (i + 1)].tobytes() for i, name in enumerate(NAMES)}


def write_archive(path: Path, batches: dict[str, bytes]) -> str:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in sorted(batches.items(), reverse=True):  # the order inside must not matter
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return md5_of(path)


def write_zip(path: Path, batches: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in batches.items():
            archive.writestr(name, content)


def write_folder(raw: Path, batches: dict[str, bytes]) -> None:
    (raw / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, content in batches.items():
        (raw / FOLDER / name).write_bytes(content)


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def all_pixels(catalog: Catalog) -> NDArray[np.uint8]:
    return np.stack([catalog.read(item) for item in catalog.items.take(np.arange(len(catalog.items)))])


@pytest.mark.parametrize("form", ["folder", "archive", "archive beside", "zip", "other tar"])
def test_the_same_comes_from_every_packing(
    form: str, tmp_path: Path, pixels: NDArray[np.uint8], batches: dict[str, bytes]
) -> None:
    raw, md5 = tmp_path / "cifar10", "of the official archive"
    raw.mkdir()
    if form == "folder":
        write_folder(raw, batches)
    elif form == "archive":
        md5 = write_archive(raw / ARCHIVE, batches)
    elif form == "archive beside":  # under another name, known by its digest
        raw.rmdir()
        md5 = write_archive(tmp_path / "cifar10.tar.gz", batches)
    elif form == "zip":
        write_zip(raw / "batches.zip", batches)
    else:
        write_archive(raw / "packed-again.tar.gz", batches)
    catalog = open_cifar10(raw, "class", tmp_path / "scratch", md5=md5, batch_images=IMAGES)
    np.testing.assert_array_equal(all_pixels(catalog), pixels)
    assert catalog.labels.tolist() == [number % 10 for number in range(18)]
    assert catalog.classes == CLASSES
    assert catalog.splits["train"].tolist() == list(range(15))
    assert catalog.splits["test"].tolist() == [15, 16, 17]
    assert catalog.splits["all"].tolist() == list(range(18))
    names = list(catalog.items.names())
    assert [names[number] for number in (0, 14, 15, 17)] == ["train-00000", "train-00014", "test-00000", "test-00002"]
    assert catalog.parallel is False
    assert catalog.record["is_official"] is form.startswith("archive")
    assert catalog.record["num_files"] == 6
    assert catalog.record["test_batch.bin_sha256"] == hashlib.sha256(batches["test_batch.bin"]).hexdigest()
    assert ("archive_md5" in catalog.record) is (form != "folder")


def test_the_official_archive_is_preferred_to_unpacked_files(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_folder(tmp_path, {name: content[::-1] for name, content in batches.items()})
    md5 = write_archive(tmp_path / ARCHIVE, batches)
    catalog = open_cifar10(tmp_path, "class", tmp_path / "scratch", md5=md5, batch_images=IMAGES)
    assert catalog.record["archive"] == ARCHIVE
    assert catalog.record["archive_md5"] == md5


def test_another_archive_of_the_official_name_is_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    md5 = write_archive(tmp_path / ARCHIVE, batches)
    with pytest.raises(ValueError, match=rf"tar.gz: md5 must be c32a1d4ab5d03f1284b67883e8d87530, got {md5}; download"):
        open_cifar10(tmp_path, "class", tmp_path / "scratch")


def test_a_damaged_archive_is_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    path = tmp_path / ARCHIVE
    write_archive(path, batches)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"must be a whole tar file .*download it again"):
        open_cifar10(tmp_path, "class", tmp_path / "scratch", md5=md5_of(path), batch_images=IMAGES)


def test_a_damaged_file_in_a_zip_is_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    path = tmp_path / "batches.zip"
    write_zip(path, batches)
    content = bytearray(path.read_bytes())
    content[4000] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"batches.zip: data_batch_1.bin must be whole \(.*\); download it again"):
        open_cifar10(tmp_path, "class", tmp_path / "scratch", batch_images=IMAGES)


def test_missing_files_are_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"must be here, as a folder or as an archive"):
        open_cifar10(tmp_path / "nothing", "class", tmp_path / "scratch")
    lacking = {name: content for name, content in batches.items() if name != "data_batch_4.bin"}
    write_folder(tmp_path / "raw", lacking)
    message = r"data_batch_4.bin must be here, in cifar-10-binary.tar.gz or unpacked from it; download the binary ver"
    with pytest.raises(ValueError, match=message):
        open_cifar10(tmp_path / "raw", "class", tmp_path / "scratch", batch_images=IMAGES)
    md5 = write_archive(tmp_path / "raw" / ARCHIVE, lacking)
    with pytest.raises(ValueError, match=message):
        open_cifar10(tmp_path / "raw", "class", tmp_path / "scratch", md5=md5, batch_images=IMAGES)


def test_short_batches_and_wrong_labels_are_refused(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_folder(tmp_path, batches | {"test_batch.bin": batches["test_batch.bin"][:-1]})
    with pytest.raises(ValueError, match=r"test_batch.bin must hold 3 records of 3073 bytes, got 9218 bytes"):
        open_cifar10(tmp_path, "class", tmp_path / "scratch", batch_images=IMAGES)
    write_folder(tmp_path, {"test_batch.bin": b"\x0b" + batches["test_batch.bin"][1:]})
    with pytest.raises(ValueError, match=r"labels of .*test_batch.bin \(byte 0 of a record\) must be 0..9, got 11;"):
        open_cifar10(tmp_path, "class", tmp_path / "scratch", batch_images=IMAGES)


def test_labels(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_folder(tmp_path, batches)
    unlabeled = open_cifar10(tmp_path, "none", tmp_path / "scratch", batch_images=IMAGES)
    assert unlabeled.classes == ()
    assert not unlabeled.labels.any()
    with pytest.raises(ValueError, match=r"data.labels must be class or none for cifar10, got digit$"):
        open_cifar10(tmp_path, "digit", tmp_path / "scratch", batch_images=IMAGES)


def test_what_was_opened_has_a_stamp(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_folder(tmp_path, batches)
    before = open_cifar10(tmp_path, "none", tmp_path / "scratch", batch_images=IMAGES).stamp
    assert open_cifar10(tmp_path, "none", tmp_path / "scratch", batch_images=IMAGES).stamp == before
    write_folder(tmp_path, {"test_batch.bin": batches["data_batch_1.bin"]})
    assert open_cifar10(tmp_path, "none", tmp_path / "scratch", batch_images=IMAGES).stamp != before
