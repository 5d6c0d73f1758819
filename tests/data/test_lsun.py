"""LSUN: made-up databases in the published layout come back alike from folders, zips and a tar."""

import io
import multiprocessing
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from ddpm.data.catalog import Catalog
from ddpm.data.digests import settled
from ddpm.data.lsun import open_lsun
from ddpm.digest import file_sha256

OFFICIAL = {"bedroom_train_lmdb": 5, "bedroom_val_lmdb": 2, "church_outdoor_train_lmdb": 3}
"""Folder -> number of images."""


def webp(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "WEBP", quality=90)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write database folders."""

    def make(counts: dict[str, int], name: str = "raw", value: Callable[[int], bytes] = webp) -> Path:
        for folder, count in counts.items():
            path = tmp_path / name / folder
            path.mkdir(parents=True)
            with lmdb.open(str(path), map_size=2**20) as environment, environment.begin(write=True) as transaction:
                for number in range(count):
                    transaction.put(f"{97 * number % 101:040x}".encode(), value(number))
        return tmp_path / name

    return make


def pack_each(raw: Path, out: Path) -> Path:
    """The zips as downloaded."""
    out.mkdir()
    for folder in sorted(raw.iterdir()):
        with zipfile.ZipFile(out / f"{folder.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in folder.iterdir():
                archive.write(path, f"{folder.name}/{path.name}")
    return out


def contents(catalog: Catalog) -> list[object]:
    return [catalog.read(item) for item in catalog.items.take(catalog.splits["all"])]


def test_folders_zips_and_a_tar_give_the_same(tmp_path: Path, folder: Callable[..., Path]) -> None:
    raw = folder(OFFICIAL)
    zips = pack_each(raw, tmp_path / "zips")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        tar.add(raw, "lsun")
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        for path in sorted(raw.glob("*/*.mdb"), reverse=True):  # the order inside must not matter
            archive.write(path, path.relative_to(raw))
    first = open_lsun(raw, "category", tmp_path / "scratch-0")
    for number, packed in enumerate([zips, tmp_path / "all.tar.gz", tmp_path / "one"], start=1):
        catalog = open_lsun(packed, "category", tmp_path / f"scratch-{number}")
        assert list(catalog.items.names()) == list(first.items.names())
        assert contents(catalog) == contents(first)
        assert catalog.labels.tolist() == first.labels.tolist()
        assert {split: of.tolist() for split, of in catalog.splits.items()} == {
            split: of.tolist() for split, of in first.splits.items()
        }
        assert catalog.stamp == first.stamp
        sha256 = file_sha256(raw / "bedroom_val_lmdb" / "data.mdb")
        about = settled(catalog.record)["databases"]["bedroom_val"]
        assert about.items() >= {"entries": 2, "sha256": sha256}.items()
    assert about["archive"] == "one.zip"
    assert about["archive_sha256"] == file_sha256(tmp_path / "one.zip")
    assert first.record["databases"]["bedroom_val"] == {"entries": 2, "sha256": sha256}


def test_names_splits_and_labels(tmp_path: Path, folder: Callable[..., Path]) -> None:
    catalog = open_lsun(folder(OFFICIAL), "category", tmp_path / "scratch")
    names = list(catalog.items.names())
    assert names[:2] == [f"bedroom_train/{0:040x}", f"bedroom_train/{85:040x}"]  # sorted keys: 97 * 4 % 101 is 85
    assert [name.split("/")[0] for name in names[5:]] == ["bedroom_val"] * 2 + ["church_outdoor_train"] * 3
    assert contents(catalog)[:2] == [webp(0), webp(4)]
    assert catalog.splits["train"].tolist() == [0, 1, 2, 3, 4, 7, 8, 9]
    assert catalog.splits["valid"].tolist() == [5, 6]
    assert list(catalog.splits) == ["train", "valid", "all"]
    assert catalog.classes == ("bedroom", "church_outdoor")
    assert catalog.labels.tolist() == [0] * 7 + [1] * 3
    assert open_lsun(tmp_path / "raw", "none", tmp_path / "scratch").classes == ()
    with pytest.raises(ValueError, match=r"data.labels must be category or none for lsun, got class$"):
        open_lsun(tmp_path / "raw", "class", tmp_path / "scratch")


def test_test_images_have_no_category(tmp_path: Path, folder: Callable[..., Path]) -> None:
    raw = folder({"test_lmdb": 2, "bedroom_val_lmdb": 1})
    catalog = open_lsun(raw, "none", tmp_path / "scratch")
    assert catalog.splits["test"].tolist() == [1, 2]
    assert catalog.items.name(1).startswith("test/0000")
    with pytest.raises(ValueError, match=r"test_lmdb/data.mdb: labels must be known, got a database of no category"):
        open_lsun(raw, "category", tmp_path / "scratch")


def test_an_object_category_has_no_split(tmp_path: Path, folder: Callable[..., Path]) -> None:
    raw = folder({"bird": 2, "cat": 3, "dog": 1})
    (tmp_path / "zips").mkdir()
    for name in ("bird", "cat", "dog"):  # with the folder inside, or else named as the archive
        with zipfile.ZipFile(tmp_path / "zips" / f"{name}.zip", "w") as archive:
            archive.write(raw / name / "data.mdb", "cat/data.mdb" if name == "cat" else "data.mdb")
    for place in (raw, tmp_path / "zips"):
        catalog = open_lsun(place, "category", tmp_path / "scratch")
        assert list(catalog.splits) == ["all"]
        assert catalog.classes == ("bird", "cat", "dog")
        assert catalog.labels.tolist() == [0, 0, 1, 1, 1, 2]
        assert catalog.items.name(5) == f"dog/{0:040x}"
        assert contents(catalog) == [webp(number) for number in (0, 1, 0, 2, 1, 0)]  # by their keys: 0, 97, 93


def test_another_process_opens_the_files_itself(tmp_path: Path, folder: Callable[..., Path]) -> None:
    catalog = open_lsun(pack_each(folder(OFFICIAL), tmp_path / "zips"), "none", tmp_path / "scratch")
    items = catalog.items.take(np.array([0, 6, 9]))
    here = [catalog.read(item) for item in items]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(catalog.read, items)) == here


def test_what_is_no_lsun_is_refused(tmp_path: Path, folder: Callable[..., Path]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "photo.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(ValueError, match=r"empty: must hold LSUN databases such as .*, got none; download them"):
        open_lsun(tmp_path / "empty", "none", tmp_path / "scratch")
    folder({"bedroom_val_lmdb": 2}, "text")
    raw = folder({"captions": 2}, "text", lambda number: b"a caption of a photograph")
    with pytest.raises(ValueError, match=r"captions/data.mdb: values must be JPEG, PNG or WebP files, got b'a caption"):
        open_lsun(raw, "none", tmp_path / "scratch")


def test_a_database_twice_is_refused(tmp_path: Path, folder: Callable[..., Path]) -> None:
    raw = folder({"bedroom_val_lmdb": 1})
    shutil.copy(pack_each(raw, tmp_path / "zips") / "bedroom_val_lmdb.zip", raw)
    with pytest.raises(ValueError, match=r"must hold bedroom_val once, got .*data.mdb and .*zip: bed.*; remove one"):
        open_lsun(raw, "none", tmp_path / "scratch")


def test_damage_is_refused_by_name(tmp_path: Path, folder: Callable[..., Path]) -> None:
    raw = folder(OFFICIAL)
    zips = pack_each(raw, tmp_path / "zips")
    path = raw / "bedroom_train_lmdb" / "data.mdb"
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(
        ValueError, match=r"raw: bedroom_train_lmdb/data.mdb: must be a whole LMDB file .*it has \d+ of \d+ bytes"
    ):
        open_lsun(raw, "none", tmp_path / "scratch")
    with zipfile.ZipFile(zips / "bedroom_val_lmdb.zip", "w") as archive:
        archive.writestr("bedroom_val_lmdb/data.mdb", b"something else")
    with pytest.raises(ValueError, match=r"bedroom_val_lmdb.zip: bedroom_val_lmdb/data.mdb: must be a whole LMDB file"):
        open_lsun(zips, "none", tmp_path / "scratch")
