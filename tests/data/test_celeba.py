"""CelebA: official layouts, annotation files as published, and files that are missing or hostile."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddpm.data import celeba as room
from ddpm.data.catalog import ABSENT, Catalog
from ddpm.data.celeba import open_celeba
from ddpm.data.digests import settled
from ddpm.digest import file_sha256

pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")
Celeba = Callable[..., Path]
FILES = ["list_eval_partition.txt", "list_attr_celeba.txt"]


def opened(raw: Path, labels: str = "none") -> Catalog:
    return open_celeba(raw, labels, raw.with_name("scratch"))


def contents_of(catalog: Catalog) -> dict[str, object]:
    return {item.name: catalog.read(item) for item in catalog.items.take(np.arange(len(catalog.items)))}


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def moved(raw: Path, pack: Callable[[Path, dict[str, bytes]], Path], to: Path) -> Path:
    """The photographs of a folder of the layout `folder`, packed; the folder is gone."""
    folder = raw / "img_align_celeba"
    pack(to, {f"img_align_celeba/{path.name}": path.read_bytes() for path in folder.iterdir()})
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return raw


def all_files(raw: Path, top: str) -> dict[str, bytes]:
    return {f"{top}{path.relative_to(raw)}": path.read_bytes() for path in raw.rglob("*") if path.is_file()}


def doubled(raw: Path) -> Path:
    (raw / "img_align_celeba").rename(raw / "x")
    (raw / "img_align_celeba").mkdir()
    (raw / "x").rename(raw / "img_align_celeba" / "img_align_celeba")
    return raw


LAYOUTS: dict[str, Callable[[Celeba, Path], Path]] = {
    "zip": lambda make, _: make(layout="zip"),
    "flat zip": lambda make, _: make(layout="zip", prefix=""),
    "deep zip": lambda make, _: make(layout="zip", prefix="celeba/aligned/"),
    "folder": lambda make, _: make(layout="folder"),
    "doubled folder": lambda make, _: doubled(make(layout="folder")),
    "tar": lambda make, at: moved(raw := make(layout="folder"), tarred, raw / "img_align_celeba.tar"),
    "tar.gz": lambda make, at: moved(raw := make(layout="folder"), tarred, raw / "img_align_celeba.tar.gz"),
    "all in a zip": lambda make, at: zipped(at / "all.zip", all_files(make(layout="folder"), "celeba/")),
    "all in a tar.gz": lambda make, at: tarred(at / "all.tar.gz", all_files(make(layout="folder"), "./")),
    "a zip in a zip": lambda make, at: zipped(at / "all.zip", all_files(make(layout="zip"), "celeba/Img/")),
    "a zip in a tar": lambda make, at: tarred(at / "all.tar", all_files(make(layout="zip"), "")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same(celeba: Celeba, jpegs: dict[str, bytes], layout: str, tmp_path: Path) -> None:
    catalog = opened(LAYOUTS[layout](celeba, tmp_path), "Smiling")
    assert list(catalog.items.names()) == list(jpegs)
    assert contents_of(catalog) == jpegs
    assert {split: numbers.tolist() for split, numbers in catalog.splits.items()} == {
        "train": [*range(8)],
        "valid": [8, 9],
        "test": [10, 11],
        "all": [*range(12)],
    }
    assert catalog.labels.tolist() == [int(number % 3 != 0) for number in range(1, 13)]
    assert catalog.classes == ("not Smiling", "Smiling")
    assert catalog.record["num_files"] == 12


def test_the_partition_is_crlf_and_labels_are_optional(celeba: Celeba) -> None:
    raw = celeba()
    assert b"\r\n" in (raw / "list_eval_partition.txt").read_bytes()
    catalog = opened(raw)
    assert catalog.classes == ()
    assert not catalog.labels.any()


def test_archives_are_recorded_by_their_published_digest(
    celeba: Celeba, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = celeba()
    archive = raw / "img_align_celeba.zip"
    record = settled(opened(raw).record)
    assert (record["archive"], record["archive_sha256"], record["archive_is_official"]) == (
        "img_align_celeba.zip",
        file_sha256(archive),
        False,
    )
    monkeypatch.setitem(room.OFFICIAL_SHA256, "img_align_celeba.zip", file_sha256(archive))
    assert settled(opened(raw).record)["archive_is_official"] is True
    record = settled(opened(zipped(tmp_path / "all.zip", all_files(raw, ""))).record)
    assert (record["archive"], record["archive_is_official"]) == ("all.zip", True), "of the zip inside"
    record = opened(celeba(layout="folder")).record
    assert (record["archive"], record["archive_is_official"]) == ("img_align_celeba", False)
    assert "archive_sha256" not in record


def test_the_zip_is_preferred(celeba: Celeba, jpegs: dict[str, bytes]) -> None:
    raw = celeba(layout="zip")
    (raw / "img_align_celeba").mkdir()
    tarred(raw / "img_align_celeba.tar", {})
    assert contents_of(opened(raw)) == jpegs


def test_the_folder_may_be_a_link(celeba: Celeba, jpegs: dict[str, bytes], tmp_path: Path) -> None:
    raw = celeba(layout="folder")
    (raw / "img_align_celeba").rename(tmp_path / "elsewhere")
    (raw / "img_align_celeba").symlink_to(tmp_path / "elsewhere")
    assert contents_of(opened(raw)) == jpegs


def test_changed_annotations_are_used_recorded_and_said(celeba: Celeba, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = celeba()
    for name, key in zip(FILES, ("partition", "attributes"), strict=True):
        sha256 = file_sha256(raw / name)
        with pytest.warns(
            UserWarning,
            match=rf"{name}: not the published file \(sha256 {sha256}, published {room.OFFICIAL_SHA256[name][:4]}",
        ):
            record = opened(raw, "Smiling").record
        assert record[f"{key}_sha256"] == sha256
        assert record[f"{key}_is_official"] is False
        monkeypatch.setitem(room.OFFICIAL_SHA256, name, sha256)
        assert opened(raw, "Smiling").record[f"{key}_is_official"] is True
    assert "attributes_sha256" not in opened(raw).record


def test_the_stamp_is_of_photographs_and_lists(celeba: Celeba) -> None:
    raw = celeba()
    before = opened(raw, "Smiling").stamp
    assert opened(raw, "Smiling").stamp == before
    for name in FILES:
        (raw / name).write_bytes((raw / name).read_bytes() + b"\r\n")
        assert opened(raw, "Smiling").stamp != before
        before = opened(raw, "Smiling").stamp
    with zipfile.ZipFile(raw / "img_align_celeba.zip", "a") as archive:
        archive.writestr("notes.txt", b"")
    assert opened(raw, "Smiling").stamp != before
    raw = celeba(layout="folder")
    before = opened(raw).stamp
    (raw / "img_align_celeba" / "000007.jpg").write_bytes(b"changed")
    assert opened(raw).stamp != before


@pytest.mark.parametrize("layout", ["zip", "folder", "tar", "all in a zip"])
def test_missing_photographs_are_absent(celeba: Celeba, jpegs: dict[str, bytes], layout: str, tmp_path: Path) -> None:
    part = {name: content for name, content in jpegs.items() if name not in ("000005.jpg", "000011.jpg")}

    def make(**options: object) -> Path:
        return celeba(part, **options)

    catalog = opened(LAYOUTS[layout](make, tmp_path))
    places = catalog.items.places[:, 0]
    assert np.flatnonzero(places == ABSENT).tolist() == [4, 10]
    assert (places[places != ABSENT] == [len(content) for content in part.values()]).all()
    there = np.flatnonzero(places != ABSENT)
    assert [catalog.read(item) for item in catalog.items.take(there)] == list(part.values())
    assert catalog.record["num_files"] == 10
    assert catalog.way_out.startswith(
        "complete the download (data/README.md) or select fewer, such as data.train_split"
    )


def test_a_folder_is_read_by_name(celeba: Celeba, jpegs: dict[str, bytes]) -> None:
    folder = celeba(layout="folder") / "img_align_celeba"
    (folder / "more").mkdir()
    (folder / "000003.jpg").rename(folder / "more" / "000003.jpg")
    (folder / "more" / "000001.jpg").touch()
    catalog = opened(folder.parent)
    assert np.flatnonzero(catalog.items.places[:, 0] == ABSENT).tolist() == [2]
    assert catalog.read(catalog.items.take(np.array([0]))[0]) == jpegs["000001.jpg"]


def test_all_photographs_may_be_absent(celeba: Celeba) -> None:
    raw = celeba(layout="folder")
    for path in (raw / "img_align_celeba").iterdir():
        path.unlink()
    assert (opened(raw).items.places == ABSENT).all()


@pytest.mark.parametrize("missing", ["list_eval_partition.txt", "list_attr_celeba.txt", "img_align_celeba.zip"])
def test_missing_files_are_named(celeba: Celeba, missing: str, tmp_path: Path) -> None:
    raw = celeba()
    (raw / missing).unlink()
    with pytest.raises(ValueError, match=rf"{missing} .*must be here; download it as data/README.md says$"):
        opened(raw, "Smiling")
    if missing.startswith("list"):
        with pytest.raises(ValueError, match=rf"all.tar/{missing}: the official file {missing} must be here; download"):
            opened(tarred(tmp_path / "all.tar", all_files(raw, "")), "Smiling")


@pytest.mark.parametrize(
    "entry", ["../000001.jpg", "/etc/000001.jpg", "a/../../000001.jpg", "C:\\000001.jpg", "..\\x.jpg"]
)
def test_entries_outside_the_zip_are_refused(celeba: Celeba, entry: str) -> None:
    raw = celeba()
    with zipfile.ZipFile(raw / "img_align_celeba.zip", "a") as archive:
        archive.writestr(zipfile.ZipInfo(entry), b"x")
    with pytest.raises(
        ValueError, match=r"entries must lie inside the archive, got .* or download the official archive$"
    ):
        opened(raw)


def test_two_photographs_of_one_name_are_refused_but_other_files_are_not(
    celeba: Celeba, jpegs: dict[str, bytes]
) -> None:
    raw = celeba()
    with zipfile.ZipFile(raw / "img_align_celeba.zip", "a") as archive:
        for entry in ("__MACOSX/._000001.jpg", "a/.DS_Store", "b/.DS_Store", "folder/", "a/notes.txt", "b/notes.txt"):
            archive.writestr(entry, b"")
    assert contents_of(opened(raw)) == jpegs
    with zipfile.ZipFile(raw / "img_align_celeba.zip", "a") as archive:
        archive.writestr("again/000001.jpg", b"x")
    with pytest.raises(ValueError, match=r"file names must be unique, got 'again/000001.jpg' and 'img_align_celeba/00"):
        opened(raw)


def test_a_zip_cut_short_is_refused(celeba: Celeba) -> None:
    raw = celeba()
    path = raw / "img_align_celeba.zip"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        ValueError, match=r"img_align_celeba.zip: must be a whole zip file .*; download it again or pack"
    ):
        opened(raw)


@pytest.mark.parametrize(
    "line", ["000001.jpg", "000001.jpg 3", "a/../000001.jpg 0", "..\\x.jpg 0", ".. 0", "\x93\xfa\x00 0 0"]
)
def test_malformed_partition_lines_are_refused(celeba: Celeba, line: str) -> None:
    raw = celeba()
    path = raw / "list_eval_partition.txt"
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\r\n")
    with pytest.raises(ValueError, match=r"list_eval_partition.txt:13: must read like 000001.jpg 0"):
        opened(raw)


def test_empty_and_repeating_partitions_are_refused(celeba: Celeba) -> None:
    raw = celeba()
    path = raw / "list_eval_partition.txt"
    path.write_text("000001.jpg 0\n000001.jpg 1\n")
    with pytest.raises(ValueError, match=r"must name each photograph once, got 2 lines, 1 names$"):
        opened(raw)
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"must name each photograph once, got 0 lines"):
        opened(raw)


def test_attributes_are_looked_up_by_name(celeba: Celeba) -> None:
    raw = celeba()
    path = raw / "list_attr_celeba.txt"
    count, names, *lines = path.read_text().splitlines()
    before = opened(raw, "Bald+Smiling").labels
    path.write_text("\n".join([count, names, *reversed(lines)]))
    np.testing.assert_array_equal(opened(raw, "Bald+Smiling").labels, before)
    path.write_text("\n".join([count, names, *lines[:-1]]))
    with pytest.raises(
        ValueError, match=r"list_attr_celeba.txt: must have a line for each .* 1 lack one, first 000012"
    ):
        opened(raw, "Smiling")
