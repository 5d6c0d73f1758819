"""CIFAR-100: coarse before fine in a record, however the files are packed; anything else is refused."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ddpm.data.cifar100 import ARCHIVE, CLASSES, open_cifar100

TRAIN, TEST = 7, 4


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (TRAIN + TEST, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def fine() -> NDArray[np.uint8]:
    return (np.arange(TRAIN + TEST) * 9 + 5).astype(np.uint8)  # 5, 14, ... 95


@pytest.fixture(scope="module")
def files(pixels: NDArray[np.uint8], fine: NDArray[np.uint8]) -> dict[str, bytes]:
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    records = np.concatenate([(fine % 20)[:, None], fine[:, None], planes], axis=1)
    assert records.shape[1] == 3074
    return {"train.bin": records[:TRAIN].tobytes(), "test.bin": records[TRAIN:].tobytes()}


def pack(raw: Path, form: str, files: dict[str, bytes]) -> str:
    """Write the files in one of the forms, and return the md5 of the archive."""
    raw.mkdir()
    contents = {f"cifar-100-binary/{name}": content for name, content in files.items()}
    contents["cifar-100-binary/fine_label_names.txt"] = b"apple\naquarium_fish\n"
    if form == "folder":
        for name, content in contents.items():
            (raw / name).parent.mkdir(exist_ok=True)
            (raw / name).write_bytes(content)
        return "none"
    path = raw / ("files.zip" if form == "zip" else ARCHIVE)
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, content in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
def test_the_same_comes_from_every_packing(
    form: str, tmp_path: Path, files: dict[str, bytes], pixels: NDArray[np.uint8], fine: NDArray[np.uint8]
) -> None:
    md5 = pack(tmp_path / "raw", form, files)
    official = {"md5": md5} if form == "tar.gz" else {}
    catalog = open_cifar100(tmp_path / "raw", "fine", tmp_path / "scratch", num_train=TRAIN, num_test=TEST, **official)
    items = catalog.items.take(catalog.splits["all"])
    np.testing.assert_array_equal(np.stack([catalog.read(item) for item in items]), pixels)
    assert catalog.labels.tolist() == fine.tolist()
    assert catalog.splits["train"].tolist() == list(range(TRAIN))
    assert catalog.splits["test"].tolist() == list(range(TRAIN, TRAIN + TEST))
    assert [items[0].name, items[-1].name] == ["train-00000", "test-00003"]
    assert catalog.record["is_official"] is (form == "tar.gz")
    assert catalog.record["train.bin_sha256"] == hashlib.sha256(files["train.bin"]).hexdigest()


def test_kinds_of_labels(tmp_path: Path, files: dict[str, bytes], fine: NDArray[np.uint8]) -> None:
    pack(tmp_path / "raw", "folder", files)
    opened = {
        kind: open_cifar100(tmp_path / "raw", kind, tmp_path / "scratch", num_train=TRAIN, num_test=TEST)
        for kind in ("fine", "coarse", "none")
    }
    assert opened["fine"].classes[opened["fine"].labels[0]] == "bed"
    assert opened["coarse"].labels.tolist() == (fine % 20).tolist()
    assert opened["coarse"].classes == CLASSES["coarse"]
    assert opened["none"].classes == ()
    assert not opened["none"].labels.any()
    with pytest.raises(
        ValueError, match=r"^params.yaml: data.labels must be fine, coarse or none for cifar100, got class"
    ):
        open_cifar100(tmp_path / "raw", "class", tmp_path / "scratch")


def test_class_names_are_in_the_official_order() -> None:
    assert [len(CLASSES[kind]) for kind in ("coarse", "fine")] == [20, 100]
    for names in CLASSES.values():
        assert list(names) == sorted(set(names))
    # numbers that other people publish: 0 apple, 23 cloud, 51 mushroom, 99 worm; 0 aquatic mammals, 14 people
    assert [CLASSES["fine"][number] for number in (0, 23, 51, 99)] == ["apple", "cloud", "mushroom", "worm"]
    assert [CLASSES["coarse"][number] for number in (0, 14, 19)] == ["aquatic_mammals", "people", "vehicles_2"]


def test_another_archive_of_the_official_name_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    md5 = pack(tmp_path / "raw", "tar.gz", files)
    with pytest.raises(
        ValueError, match=rf"md5 must be 03b5dce01913d631647c71ecec9e9cb8, got {md5}; download it again"
    ):
        open_cifar100(tmp_path / "raw", "fine", tmp_path / "scratch")


@pytest.mark.parametrize(("byte", "value", "highest"), [(0, 20, 19), (1, 100, 99)])
def test_labels_out_of_range_are_refused(
    byte: int, value: int, highest: int, tmp_path: Path, files: dict[str, bytes]
) -> None:
    content = bytearray(files["train.bin"])
    content[3074 + byte] = value
    pack(tmp_path / "raw", "folder", files | {"train.bin": bytes(content)})
    with pytest.raises(
        ValueError, match=rf"train.bin \(byte {byte} of a record\) must be 0..{highest}, got {value}; download it again"
    ):
        open_cifar100(tmp_path / "raw", "fine", tmp_path / "scratch", num_train=TRAIN, num_test=TEST)


def test_files_of_another_length_are_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    pack(tmp_path / "raw", "folder", files)
    with pytest.raises(ValueError, match=r"train.bin must hold 50000 records of 3074 bytes, got 21518 bytes; download"):
        open_cifar100(tmp_path / "raw", "fine", tmp_path / "scratch")
    pack(tmp_path / "other", "zip", {"train.bin": files["train.bin"]})
    with pytest.raises(ValueError, match=r"files.zip: test.bin must be here, in cifar-100-binary.tar.gz or unpacked"):
        open_cifar100(tmp_path / "other", "fine", tmp_path / "scratch", num_train=TRAIN, num_test=TEST)
