"""CelebA: official layouts, annotation files as published, and files that are missing or hostile."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddpm.data import celeba as room
from ddpm.data.celeba import open_celeba
from ddpm.data.digests import file_md5

pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")
Celeba = Callable[..., Path]


def test_splits_come_from_the_crlf_partition(celeba: Celeba) -> None:
    raw = celeba()
    assert b"\r\n" in (raw / "list_eval_partition.txt").read_bytes()
    catalog = open_celeba(raw, "none")
    assert {split: len(items) for split, items in catalog.splits.items()} == {
        "train": 8,
        "valid": 2,
        "test": 2,
        "all": 12,
    }
    assert catalog.names[catalog.splits["valid"][0]] == "000009.jpg"
    assert catalog.classes == ()
    assert not catalog.labels.any()


def test_an_attribute_becomes_two_classes(celeba: Celeba) -> None:
    catalog = open_celeba(celeba(), "Smiling")
    assert catalog.classes == ("not Smiling", "Smiling")
    assert catalog.labels.tolist() == [int(number % 3 != 0) for number in range(1, 13)]
    assert {"attributes_md5", "attributes_is_official"} <= set(catalog.record)


def test_an_unknown_attribute_is_refused_with_a_near_one(celeba: Celeba) -> None:
    with pytest.raises(
        ValueError, match=r"^params.yaml: data.labels must be none or an attribute .*Smiling, got Smile$"
    ):
        open_celeba(celeba(), "Smile")


@pytest.mark.parametrize("prefix", ["img_align_celeba/", "", "celeba/aligned/"])
def test_zip_and_folder_hold_the_same_photographs(celeba: Celeba, prefix: str) -> None:
    zipped = open_celeba(celeba(layout="zip", prefix=prefix), "none")
    folder = open_celeba(celeba(layout="folder"), "none")
    for name in zipped.names:
        np.testing.assert_array_equal(np.asarray(zipped.read(name)), np.asarray(folder.read(name)))
    assert zipped.record["archive"] == "img_align_celeba.zip"
    assert folder.record["archive"] == "img_align_celeba"


def test_the_zip_is_preferred(celeba: Celeba) -> None:
    raw = celeba(layout="zip")
    (raw / "img_align_celeba").mkdir()
    open_celeba(raw, "none").require(["000001.jpg"])


def test_changed_annotations_are_used_recorded_and_said(celeba: Celeba, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = celeba()
    md5 = file_md5(raw / "list_eval_partition.txt")
    with pytest.warns(
        UserWarning, match=rf"list_eval_partition.txt: not the published file \(md5 {md5}, published d32c"
    ):
        record = open_celeba(raw, "none").record
    assert record["partition_md5"] == md5
    assert record["partition_is_official"] is False
    monkeypatch.setitem(room.OFFICIAL_MD5, "list_eval_partition.txt", md5)
    assert open_celeba(raw, "none").record["partition_is_official"] is True


@pytest.mark.parametrize("layout", ["zip", "folder"])
def test_missing_photographs_are_counted(celeba: Celeba, jpegs: dict[str, bytes], layout: str) -> None:
    part = {name: content for name, content in jpegs.items() if name not in ("000005.jpg", "000011.jpg")}
    catalog = open_celeba(celeba(part, layout=layout), "none")
    catalog.require(["000001.jpg", "000012.jpg"])  # only what is selected has to be there
    with pytest.raises(
        ValueError, match=r"all 12 selected photographs must be here, 2 are missing, first 000005.jpg; "
    ):
        catalog.require(catalog.names)


@pytest.mark.parametrize("missing", ["list_eval_partition.txt", "list_attr_celeba.txt", "img_align_celeba.zip"])
def test_missing_files_are_named(celeba: Celeba, missing: str) -> None:
    raw = celeba()
    (raw / missing).unlink()
    with pytest.raises(ValueError, match=rf"{missing} .*must be here; download it as data/README.md says$"):
        open_celeba(raw, "Smiling")


@pytest.mark.parametrize(
    "entry", ["../000001.jpg", "/etc/000001.jpg", "a/../../000001.jpg", "C:\\000001.jpg", "..\\x.jpg"]
)
def test_entries_outside_the_zip_are_refused(celeba: Celeba, entry: str) -> None:
    raw = celeba()
    with zipfile.ZipFile(raw / "img_align_celeba.zip", "a") as archive:
        archive.writestr(zipfile.ZipInfo(entry), b"x")
    with pytest.raises(ValueError, match=r"entries must lie inside the zip, got .*; download the official archive$"):
        open_celeba(raw, "none").require(["000001.jpg"])


def test_two_photographs_of_one_name_are_refused_but_desktop_files_are_not(celeba: Celeba) -> None:
    raw = celeba()
    with zipfile.ZipFile(raw / "img_align_celeba.zip", "a") as archive:
        for entry in ("__MACOSX/._000001.jpg", "a/.DS_Store", "b/.DS_Store", "folder/"):
            archive.writestr(entry, b"")
    open_celeba(raw, "none").require(["000001.jpg"])
    with zipfile.ZipFile(raw / "img_align_celeba.zip", "a") as archive:
        archive.writestr("again/000001.jpg", b"x")
    with pytest.raises(ValueError, match=r"file names must be unique, got 'img_align_celeba/000001.jpg' and 'again/"):
        open_celeba(raw, "none").require(["000001.jpg"])


def test_a_zip_cut_short_is_refused(celeba: Celeba) -> None:
    raw = celeba()
    path = raw / "img_align_celeba.zip"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"img_align_celeba.zip: must be a whole zip file .*; download it again$"):
        open_celeba(raw, "none").require(["000001.jpg"])


@pytest.mark.parametrize(
    "line", ["000001.jpg", "000001.jpg 3", "a/../000001.jpg 0", "..\\x.jpg 0", ".. 0", "\x93\xfa\x00 0 0"]
)
def test_malformed_partition_lines_are_refused(celeba: Celeba, line: str) -> None:
    raw = celeba()
    path = raw / "list_eval_partition.txt"
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\r\n")
    with pytest.raises(ValueError, match=r"list_eval_partition.txt:13: must read like 000001.jpg 0"):
        open_celeba(raw, "none")


def test_empty_and_repeating_partitions_are_refused(celeba: Celeba) -> None:
    raw = celeba()
    path = raw / "list_eval_partition.txt"
    path.write_text("000001.jpg 0\n000001.jpg 1\n")
    with pytest.raises(ValueError, match=r"must name each photograph once, got 2 lines, 1 names$"):
        open_celeba(raw, "none")
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"must name each photograph once, got 0 lines"):
        open_celeba(raw, "none")


def test_malformed_attributes_are_refused(celeba: Celeba) -> None:
    raw = celeba()
    path = raw / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "000012.jpg -1 0"]))
    with pytest.raises(ValueError, match=r"list_attr_celeba.txt:14: must hold a name and 2 values -1 or 1$"):
        open_celeba(raw, "Smiling")
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"must have a line for each photograph .* 1 lack one, first 000012.jpg"):
        open_celeba(raw, "Smiling")
    path.write_text("")
    with pytest.raises(ValueError, match=r"data.labels must be none or an attribute"):
        open_celeba(raw, "Smiling")
