"""MNIST and Fashion-MNIST: IDX files in every packing, the published digests, and files that are not what they say."""

import gzip
import hashlib
import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.datasets import MNIST, FashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file

from ddpm.data.catalog import Catalog
from ddpm.data.idx import read_idx
from ddpm.data.mnist import CLOTHES, FASHION_MD5, MNIST_MD5, open_fashion_mnist, open_mnist

TRAIN, TEST = 12, 5
UNPUBLISHED = "ignore:.*not the published file"


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (TRAIN + TEST, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    return (np.arange(TRAIN + TEST) % 10).astype(np.uint8)


@pytest.fixture(scope="module")
def plain(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> dict[str, bytes]:
    """The four files, decompressed."""
    return {
        "train-images-idx3-ubyte": idx(images[:TRAIN]),
        "train-labels-idx1-ubyte": idx(labels[:TRAIN]),
        "t10k-images-idx3-ubyte": idx(images[TRAIN:]),
        "t10k-labels-idx1-ubyte": idx(labels[TRAIN:]),
    }


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def zipped(plain: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in plain.items()}


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in files.items()}


def pack(raw: Path, form: str, files: dict[str, bytes]) -> None:
    raw.mkdir()
    if form == "folder":
        for name, content in files.items():
            (raw / name).write_bytes(content)
    elif form == "zip":
        with zipfile.ZipFile(raw / "archive.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(f"some/{name}", content)
    else:
        with tarfile.open(raw / "archive.tar.gz", "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def opened(raw: Path, kind: str = "digit", opener: Callable[..., Catalog] = open_mnist, **changes: object) -> Catalog:
    return opener(raw, kind, raw.parent / "scratch", **({"num_train": TRAIN, "num_test": TEST} | changes))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
def test_the_same_comes_from_every_packing(
    form: str,
    compressed: bool,
    tmp_path: Path,
    plain: dict[str, bytes],
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
) -> None:
    files = zipped(plain) if compressed else plain
    pack(tmp_path / "raw", form, files)
    catalog = opened(tmp_path / "raw", md5=digests(files))
    items = catalog.items.take(catalog.splits["all"])
    np.testing.assert_array_equal(np.stack([catalog.read(item) for item in items]), images)
    assert catalog.labels.tolist() == labels.tolist()
    assert catalog.classes == tuple("0123456789")
    assert catalog.splits["train"].tolist() == list(range(TRAIN))
    assert catalog.splits["test"].tolist() == list(range(TRAIN, TRAIN + TEST))
    assert [items[0].name, items[TRAIN].name] == ["train-00000", "test-00000"]
    assert catalog.record["t10k-labels-idx1-ubyte_is_official"] is True
    assert catalog.record["num_files"] == 4
    assert ("archive_sha256" in catalog.record) is (form != "folder")
    assert catalog.parallel is False


@pytest.mark.filterwarnings(UNPUBLISHED)
def test_other_spellings(tmp_path: Path, plain: dict[str, bytes], labels: NDArray[np.uint8]) -> None:
    dotted = {name.replace("-idx", ".idx"): content for name, content in plain.items()}  # as some programs unpack
    pack(tmp_path / "dotted", "folder", dotted)
    assert opened(tmp_path / "dotted").labels.tolist() == labels.tolist()
    pack(tmp_path / "named", "folder", {f"{name}.gz": content for name, content in plain.items()})  # by a browser
    assert opened(tmp_path / "named", md5=digests(plain)).record["train-images-idx3-ubyte_is_official"] is True


def test_files_that_are_not_published_are_used_recorded_and_said(tmp_path: Path, plain: dict[str, bytes]) -> None:
    files = zipped(plain)
    pack(tmp_path / "raw", "folder", files)
    known = digests(files)
    md5 = known["t10k-images-idx3-ubyte.gz"]
    known["t10k-images-idx3-ubyte.gz"] = "0" * 32
    with pytest.warns(
        UserWarning, match=rf"t10k-images-idx3-ubyte.gz: not the published file \(md5 {md5}, published 0"
    ):
        record = opened(tmp_path / "raw", md5=known).record
    assert record["t10k-images-idx3-ubyte_md5"] == md5
    assert record["t10k-images-idx3-ubyte_is_official"] is False
    assert record["train-images-idx3-ubyte_is_official"] is True


def test_published_digests_are_those_of_torchvision() -> None:
    for resources, known in ((MNIST.resources, MNIST_MD5), (FashionMNIST.resources, FASHION_MD5)):
        assert dict(resources) == {name: md5 for name, md5 in known.items() if name.endswith(".gz")}
        assert {name.removesuffix(".gz") for name, _ in resources} == {name for name in known if name[-3:] != ".gz"}
    assert list(CLOTHES) == FashionMNIST.classes
    assert len({*MNIST_MD5.values(), *FASHION_MD5.values()}) == 16


def test_arrays_are_those_of_torchvision(tmp_path: Path, plain: dict[str, bytes]) -> None:
    for name, content in plain.items():
        (tmp_path / name).write_bytes(content)
        read, shape = (read_image_file, (28, 28)) if "images" in name else (read_label_file, ())
        theirs = read(str(tmp_path / name))
        ours = torch.from_numpy(read_idx(name, content, (len(theirs), *shape)).copy())
        torch.testing.assert_close(ours, theirs, check_dtype=False)


@pytest.mark.filterwarnings(UNPUBLISHED)
def test_labels(tmp_path: Path, plain: dict[str, bytes]) -> None:
    pack(tmp_path / "raw", "folder", plain)
    fashion = opened(tmp_path / "raw", "class", open_fashion_mnist)
    assert fashion.classes[fashion.labels[9]] == "Ankle boot"
    for opener, other, message in (
        (open_mnist, "class", "digit or none for mnist, got class"),
        (open_fashion_mnist, "digit", "class or none for fashion-mnist, got digit"),
    ):
        assert opened(tmp_path / "raw", "none", opener).classes == ()
        with pytest.raises(ValueError, match=f"^params.yaml: data.labels must be {message}$"):
            opened(tmp_path / "raw", other, opener)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BAD = {
    "labels as images": (IMAGES, lambda files: files[LABELS], r"must begin with 2051 \(IDX\), got 2049; download"),
    "images as labels": (LABELS, lambda files: files[IMAGES], r"must begin with 2049 \(IDX\), got 2051; download"),
    "empty": (LABELS, lambda files: b"", r"must begin with 2049 \(IDX\), got 0; download"),
    "a web page": (IMAGES, lambda files: b"<html>not found</html>", r"must begin with 2051 \(IDX\), got 1013478509"),
    "other split": (
        IMAGES,
        lambda files: files["t10k-images-idx3-ubyte"],
        r"must have the shape \(12, 28, 28\), got \(5, 28, 28\); download",
    ),
    "columns cut": (
        IMAGES,
        lambda files: files[IMAGES][:12] + struct.pack(">I", 27) + files[IMAGES][16:],
        r"must have the shape \(12, 28, 28\), got \(12, 28, 27\)",
    ),
    "cut short": (IMAGES, lambda files: files[IMAGES][:-1], r"must have 9424 bytes, as its shape says, got 9423;"),
    "too long": (LABELS, lambda files: files[LABELS] + b"\0", r"must have 20 bytes, as its shape says, got more;"),
    "label ten": (LABELS, lambda files: files[LABELS][:-1] + b"\x0a", r"labels-idx1-ubyte must be 0..9, got 10; down"),
}


@pytest.mark.filterwarnings(UNPUBLISHED)
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("bad", BAD)
def test_files_of_another_content_are_refused(
    bad: str, compressed: bool, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    name, change, message = BAD[bad]
    files = plain | {name: change(plain)}
    pack(tmp_path / "raw", "folder", zipped(files) if compressed else files)
    with pytest.raises(ValueError, match=rf"{name}.*{message}" if bad != "label ten" else message):
        opened(tmp_path / "raw")


@pytest.mark.filterwarnings(UNPUBLISHED)
@pytest.mark.parametrize("damage", ["cut", "checksum", "bytes"])
def test_damaged_gzip_files_are_refused(damage: str, tmp_path: Path, plain: dict[str, bytes]) -> None:
    files = zipped(plain)
    content = bytearray(files[f"{IMAGES}.gz"])
    if damage == "cut":
        del content[-100:]
    else:
        content[-6 if damage == "checksum" else 12] ^= 0xFF
    pack(tmp_path / "raw", "zip", files | {f"{IMAGES}.gz": bytes(content)})
    with pytest.raises(ValueError, match=r"some/train-images-idx3-ubyte.gz must be a whole gzip file \(.*\); download"):
        opened(tmp_path / "raw")


@pytest.mark.filterwarnings(UNPUBLISHED)
def test_a_bomb_is_not_unpacked(tmp_path: Path, plain: dict[str, bytes]) -> None:
    bomb = gzip.compress(plain[IMAGES] + bytes(2**26))
    pack(tmp_path / "raw", "folder", zipped(plain) | {f"{IMAGES}.gz": bomb})
    tracemalloc.start()
    with pytest.raises(ValueError, match="must have 9424 bytes, as its shape says, got more"):
        opened(tmp_path / "raw")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


@pytest.mark.filterwarnings(UNPUBLISHED)
@pytest.mark.parametrize("missing", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_missing_files_are_named(missing: str, tmp_path: Path, plain: dict[str, bytes]) -> None:
    pack(tmp_path / "raw", "folder", {name: content for name, content in plain.items() if name != missing})
    with pytest.raises(
        ValueError, match=rf"raw: {missing}.gz must be here, or decompressed; download it as data/READM"
    ):
        opened(tmp_path / "raw")
