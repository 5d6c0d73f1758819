"""Any folder of images: which files are images, which folders are splits or classes, and what is refused."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ddpm.data import folder as room
from ddpm.data.catalog import Catalog
from ddpm.data.folder import open_folder

FLOWERS = {
    "train/tulip/2.JPG": b"a",
    "train/rose/10.png": b"b",
    "train/rose/deep/er/9.jpeg": b"c",
    "Val/tulip/2.webp": b"d",
    "validation/rose/x.y.Tiff": b"e",
    "TEST/daisy/ü.gif": b"f",
}


def written(path: Path, files: dict[str, bytes]) -> Path:
    """A folder, or an archive by its suffix."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    elif path.suffix:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
            for name, content in files.items():
                about = tarfile.TarInfo(name)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def opened(path: Path, files: dict[str, bytes], labels: str = "none") -> Catalog:
    return open_folder(written(path, files), labels, path.with_name("scratch"))


def names_of(catalog: Catalog, split: str) -> list[str]:
    return [item.name for item in catalog.items.take(catalog.splits[split])]


@pytest.mark.parametrize("form", ["a", "a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("top", ["", "flowers/", "archive/flowers/"])
def test_folders_of_splits_and_classes(form: str, top: str, tmp_path: Path) -> None:
    files = {top + name: content for name, content in FLOWERS.items()}
    catalog = opened(tmp_path / form, files | {f"{top}readme.txt": b"", f"{top}train/rose/.x.png": b""}, "folder")
    assert {split: names_of(catalog, split) for split in ("train", "valid", "test")} == {
        "train": [top + "train/rose/10.png", top + "train/rose/deep/er/9.jpeg", top + "train/tulip/2.JPG"],
        "valid": [top + "Val/tulip/2.webp", top + "validation/rose/x.y.Tiff"],
        "test": [top + "TEST/daisy/ü.gif"],
    }
    assert list(catalog.splits) == ["train", "valid", "test", "all"]
    assert catalog.splits["all"].tolist() == list(range(6))
    assert catalog.classes == ("daisy", "rose", "tulip")
    assert [catalog.classes[label] for label in catalog.labels] == ["daisy", "tulip", "rose", "rose", "tulip", "rose"]
    found = {item.name: catalog.read(item) for item in catalog.items.take(catalog.splits["all"])}
    assert found == files, "whole relative names"
    assert catalog.record["num_files"] == 6
    assert catalog.record["other_files"] == {".txt": 1}
    assert catalog.record.get("archive") == (form if "." in form else None)
    assert catalog.parallel


def test_labels_may_be_left_out(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "a", FLOWERS)
    assert catalog.classes == ()
    assert catalog.labels.tolist() == [0] * 6
    assert catalog.labels.dtype == np.int64
    with pytest.raises(ValueError, match=r"^params.yaml: data.labels must be folder or none for folder, got class$"):
        opened(tmp_path / "a", FLOWERS, "class")


def test_class_folders_without_splits(tmp_path: Path) -> None:
    animals = {"raw-img/cane/1.jpeg": b"", "raw-img/cane/x/2.jpeg": b"", "raw-img/cavallo/1.jpeg": b""}
    catalog = opened(tmp_path / "a", animals, "folder")
    assert (list(catalog.splits), catalog.classes, catalog.labels.tolist()) == (["all"], ("cane", "cavallo"), [0, 0, 1])
    assert opened(tmp_path / "b", {"a/1.png": b"", "ab/1.png": b""}, "folder").classes == ("a", "ab")


def test_images_without_any_folder(tmp_path: Path) -> None:
    for number, files in enumerate([{"1.png": b"", "2.png": b""}, {"faces/1.png": b"", "faces/2.png": b""}]):
        catalog = opened(tmp_path / str(number), files)
        assert (list(catalog.splits), len(catalog.items)) == (["all"], 2)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train/1.png", "trains/1.png"], ["all"]),
        (["train/1.png", "1.png"], ["all"]),
        (["train/1.png", "other/test/1.png"], ["all"]),
        (["train/1.png"], ["train", "all"]),
        (["x/train/a/1.png", "x/train/b/1.png"], ["train", "all"]),
        (["x/Test/a/1.png", "x/val/b/1.png"], ["valid", "test", "all"]),
        (["train/1.png", "train.png"], ["all"]),
        (["train.png"], ["all"]),
        (["ab/1.png", "a/1.png"], ["all"]),
    ],
)
def test_splits_are_official_only_where_all_images_are_in_one(
    names: list[str], splits: list[str], tmp_path: Path
) -> None:
    catalog = opened(tmp_path / "a", dict.fromkeys(names, b""))
    assert list(catalog.splits) == splits
    parts = [catalog.splits[split] for split in splits if split != "all"]
    assert not parts or sorted(np.concatenate(parts)) == list(range(len(names)))


def test_files_beside_the_images_do_not_hide_splits(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "a", {"x/train/1.png": b"", "x/list.csv": b"", "readme": b"", "b.tar.gz": b""})
    assert list(catalog.splits) == ["train", "all"]
    assert catalog.record["other_files"] == {".csv": 1, ".gz": 1, "none": 1}


@pytest.mark.parametrize("top", ["", "train/"])
def test_images_without_a_class_folder_are_refused(top: str, tmp_path: Path) -> None:
    files = {f"{top}b/1.png": b"", f"{top}c/1.png": b"", f"{top}lost.png": b"", f"{top}zost.png": b""}
    with pytest.raises(
        ValueError,
        match=rf"a: data.labels folder needs every image in a class folder, 2 lie in none, first {top}lost.png; move",
    ):
        opened(tmp_path / "a", files, "folder")
    assert len(opened(tmp_path / "a", files).items) == 4


def test_images_are_known_by_suffix(tmp_path: Path) -> None:
    images = [f"{number}{suffix.upper() if number % 2 else suffix}" for number, suffix in enumerate(room.SUFFIXES)]
    others = ["a.npy", "b.NPY", "c", "png", "d.png.txt", "e.svg", "f."]
    catalog = opened(tmp_path / "a", dict.fromkeys(images + others, b"x"))
    assert sorted(catalog.items.names()) == sorted(images)
    assert catalog.record["other_files"] == {".": 1, ".npy": 2, ".svg": 1, ".txt": 1, "none": 2}


@pytest.mark.parametrize("form", ["a", "a.zip", "a.tar"])
def test_no_image_at_all_is_refused(form: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"{form}: must hold image files \(.jpg, .* got none among 2 files; check the"
    ):
        opened(tmp_path / form, {"a.npy": b"", "b.csv": b"", ".c.png": b""})


@pytest.mark.parametrize("form", ["a", "a.zip", "a.tar"])
def test_a_huge_image_is_refused_by_name(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_BYTES", 100)
    files = {"a.png": bytes(100), "huge.txt": bytes(101)}
    assert len(opened(tmp_path / form, files).items) == 1
    with pytest.raises(
        ValueError, match=rf"{form}: image files must have at most 100 bytes, got b.png of 101; make it"
    ):
        opened(tmp_path / form, files | {"b.png": bytes(101)})


def test_the_limit_is_256_mib(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(ValueError, match=r"at most 268435456 bytes, got a.png of 268435457"):
        open_folder(tmp_path, "none", tmp_path)


def test_the_stamp_follows_the_files(tmp_path: Path) -> None:
    before = opened(tmp_path / "a", FLOWERS).stamp
    assert open_folder(tmp_path / "a", "folder", tmp_path).stamp == before
    assert opened(tmp_path / "a", {"new.png": b""}).stamp != before


def test_the_reader_is_small_and_travels(tmp_path: Path) -> None:
    catalog = opened(tmp_path / "a.tar.gz", {f"{number}.png": b"%d" % number for number in range(1000)})
    sent = pickle.dumps((catalog.read, catalog.items.take(np.array([7]))))
    assert len(sent) < 500
    read, items = pickle.loads(sent)  # noqa: S301  (made here)
    assert read(items[0]) == items[0].name.removesuffix(".png").encode()


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent: the downloaded files must be here, as a folder or as an archive"):
        open_folder(tmp_path / "absent", "none", tmp_path)
