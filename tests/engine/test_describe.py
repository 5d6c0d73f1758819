"""What prepared images are: the lines of the manifest, which images a card shows, and what is refused."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ddpm.data import store
from ddpm.drawing.png import read_about
from ddpm.engine import describe
from ddpm.engine.manifest_lines import largest_classes, lines, plain

Make = Callable[..., Path]
DIGEST = hashlib.sha256(b"").hexdigest()
PETS = ("cat", "dog", "a fish")


def entry(labels: Sequence[int], classes: Sequence[str], channels: int) -> dict[str, Any]:
    counts = np.bincount(np.array(labels, dtype=int), minlength=len(classes)).tolist()
    digests = ("sha256", "labels_sha256", "files_digest", "pixels_digest")
    return {
        "selection": "all[0:90%]" if labels else "none",
        "images": len(labels),
        "images_of_class": dict(zip(classes, counts, strict=False)),
        "mean": [131.25, 105.5, 90.0][:channels] if labels else None,
        "std": [60.0, 50.25, 50.0][:channels] if labels else None,
        "skipped": [],
        "handled": {},
        **dict.fromkeys(digests, DIGEST),
    }


def manifest(labels: Sequence[int], classes: Sequence[str], shape: tuple[int, int, int]) -> dict[str, Any]:
    height, width, channels = shape
    none = {"groups": 0, "repeated": 0, "held_out_in_train": 0, "examples": []}
    return {
        "source": "folder",
        "name": "pets",
        "raw": {"archive": "pets.zip", "archive_md5": "d41d8cd9", "archive_is_official": False, "num_files": 12345},
        "crop": "short-side",
        "resample": "box",
        "size": height if height == width else [height, width],
        "channels": channels,
        "store": "array",
        "labels": "class" if classes else "none",
        "classes": list(classes),
        "splits": {"train": entry(labels, classes, channels), "valid": entry([], classes, channels)},
        "duplicates": {"files": none, "pixels": none},
        "versions": {"numpy": "2.0", "pillow": "13.0", "libwebp": None},
    }


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A prepared store, in which every pixel of image i is i modulo 251; `change` edits its manifest."""

    def write(
        labels: Sequence[int],
        classes: Sequence[str] = PETS,
        shape: tuple[int, int, int] = (8, 8, 3),
        change: Callable[[dict[str, Any]], object] | None = None,
    ) -> Path:
        folder = tmp_path / "pets"
        folder.mkdir(exist_ok=True)
        pixels = (np.arange(len(labels)) % 251).astype(np.uint8)[:, None, None, None] * np.ones(shape, np.uint8)
        for split, number in (("train", len(labels)), ("valid", 0)):
            store.write_images(folder / store.images_file(split), (number, *shape), [pixels[:number]])
            store.write_labels(folder / store.labels_file(split), np.array(labels[:number], dtype=np.int64))
        content = manifest(labels, classes, shape)
        if change is not None:
            change(content)
        (folder / store.MANIFEST).write_text(json.dumps(content, sort_keys=True))
        return folder

    return write


def draw(folder: Path, out: Path, wanted: int | None = None, seed: int = 0) -> dict[str, Any]:
    """The card's chunk of what is shown."""
    describe.draw(describe.open_prepared(folder, "train"), out, wanted, seed)
    shown: dict[str, Any] = json.loads(read_about(out)["ddpm.shown"])
    return shown


LABELS = [0] * 50 + [1] * 30 + [2] * 20


def test_the_lines_of_a_manifest() -> None:
    text = "\n".join(lines(manifest(LABELS, PETS, (16, 64, 3))))
    assert (
        text
        == f"""\
name          pets
source        folder
raw           archive  pets.zip, md5 d41d8cd9, not as published
              files    12,345
crop          short-side, box
size          16 x 64, RGB
store         array
labels        class, 3 classes

train         100 images, selection all[0:90%]
  classes     cat     50   50.0%
              dog     30   30.0%
              a fish  20   20.0%
  mean        131.25  105.50  90.00  of 0..255
  std         60.00  50.25  50.00  of 0..255
  handled     none was unusual
  skipped     none
  sha256      images  {DIGEST}
              labels  {DIGEST}
  digest      files   {DIGEST}
              pixels  {DIGEST}

valid         0 images, selection none

duplicates    files   none
              pixels  none

versions      numpy 2.0, pillow 13.0"""
    )


def test_lines_say_what_is_unusual_and_cut_what_is_long() -> None:
    content = manifest([*range(25), 3, 7], [f"n{number:02}" for number in range(25)], (32, 32, 1))
    train = content["splits"]["train"]
    train["handled"] = {"rotated": 1234, "transparent": 1}
    train["skipped"] = [{"name": f"{number}.jpg", "reason": "truncated"} for number in range(12)]
    examples = [["a.jpg", "b.jpg", "c\n.jpg"]]
    content["duplicates"]["files"] = {"groups": 1, "repeated": 2, "held_out_in_train": 1, "examples": examples}
    text = "\n".join(lines(content))
    assert "size          32 x 32, gray" in text
    assert "  handled     rotated 1,234, transparent 1" in text
    assert "  skipped     12 that could not be decoded\n              0.jpg: truncated" in text
    assert "9.jpg: truncated\n              and 2 more" in text
    assert "10.jpg" not in text
    assert text.count("  2    7.4%") == 2
    assert "and 13 more of 1 images each" in text
    assert "files   2 repeat an earlier one, in 1 groups; held out and in train: 1" in text
    assert "a.jpg = b.jpg = c\\n.jpg" in text


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, []),
        (
            {"is_official": True, "archive": "c.tar.gz", "archive_md5": "ab"},
            ["archive  as published, c.tar.gz, md5 ab"],
        ),
        (
            {"a.npy_sha256": "ab", "shapes": {"a": [5, 32, 32], "b": [7]}},
            ["a.npy   sha256 ab", "shapes  a 5 x 32 x 32, b 7"],
        ),
        (
            {"archive": "c.zip", "archive_md5": "a" * 32, "archive_sha256": "b" * 64, "num_files": 5},
            [f"archive  c.zip, md5 {'a' * 32}", f"sha256 {'b' * 64}", "files    5"],
        ),
        ({"columns": ["image", "label"], "kept": True}, ["columns  image, label", "kept     True"]),
    ],
)
def test_records_of_any_source_are_said(record: dict[str, Any], expected: list[str]) -> None:
    content = manifest([0], (), (8, 8, 1)) | {"raw": record}
    found = lines(content)
    between = found[found.index("source        folder") + 1 : found.index("crop          short-side, box")]
    assert [line.removeprefix("raw").strip() for line in between] == expected


def test_names_cannot_break_lines_or_terminals() -> None:
    assert plain("Hündin 猫") == "Hündin 猫"
    assert plain("a\x1b[31m\n\udcff") == "a\\x1b[31m\\n\\udcff"
    plain("\udcff").encode()


def test_the_largest_classes_keep_their_order() -> None:
    assert largest_classes({"a": 1, "b": 5, "c": 3, "d": 5}, 3) == ["b", "c", "d"]
    assert largest_classes({"a": 1, "b": 1, "c": 1}, 2) == ["a", "b"]


def test_more_numbers_are_the_same_and_others() -> None:
    few, many = describe.pick(1000, 5, "0 train 3"), describe.pick(1000, 900, "0 train 3")
    assert many[:5] == few
    assert len(set(many)) == 900
    assert set(many) <= set(range(1000))
    assert describe.pick(1000, 5, "1 train 3") != few
    assert describe.pick(3, 5, "0") == [0, 1, 2]
    assert describe.pick(0, 5, "0") == []
    digests = [hashlib.sha256(f"0 train 3 {turn}".encode()).digest() for turn in range(5)]
    assert describe.pick(10**9, 5, "0 train 3") == [int.from_bytes(digest[:8]) % 10**9 for digest in digests]


def test_a_card_has_a_row_of_each_class(make: Make, tmp_path: Path) -> None:
    folder = make(LABELS)
    shown = draw(folder, tmp_path / "card.png", wanted=12)
    assert (shown["split"], shown["seed"]) == ("train", 0)
    assert [LABELS[row] for row in shown["rows"]] == [0] * 4 + [1] * 4 + [2] * 4
    assert len(set(shown["rows"])) == 12
    levels = np.asarray(Image.open(tmp_path / "card.png"))
    assert [level for level in shown["rows"] if not (levels == level).all(axis=-1).sum() >= 120**2] == []
    assert draw(folder, tmp_path / "other.png", wanted=12, seed=1)["rows"] != shown["rows"]


def test_the_same_images_give_the_same_bytes(make: Make, tmp_path: Path) -> None:
    draw(make(LABELS), tmp_path / "a.png")
    draw(make(LABELS), tmp_path / "b.png")
    draw(make(LABELS), tmp_path / "c.png", seed=1)
    written = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert written[0] == written[1] != written[2]
    data = json.loads(read_about(tmp_path / "a.png")["ddpm.data"])
    assert (data["source"], data["crop"], data["files_digest"]) == ("folder", "short-side", DIGEST)
    assert str(tmp_path).encode() not in written[0]


def test_without_classes_it_is_a_sheet(make: Make, tmp_path: Path) -> None:
    shown = draw(make([0] * 300, ()), tmp_path / "card.png")
    assert len(set(shown["rows"])) == len(shown["rows"]) == 150
    assert draw(make([0] * 5, ()), tmp_path / "card.png")["rows"] == [0, 1, 2, 3, 4]


def test_of_many_classes_the_largest_are_shown(make: Make, tmp_path: Path) -> None:
    labels = [number for number in range(20) for _ in range(1 if number in (2, 5, 11) else 2)] + [19]
    folder = make(labels, [f"class {number}" for number in range(20)])
    shown = draw(folder, tmp_path / "card.png")
    assert sorted({labels[row] for row in shown["rows"]}) == [*range(2), 3, 4, *range(6, 11), *range(12, 18), 19]
    prepared = describe.open_prepared(folder, "train")
    text = describe.footer(prepared, 33, describe.plan(8, 8, 16, 3, labeled=True), 0)
    assert text == (
        "33 of 38 images of train, chosen with seed 0 · enlarged 15 x · the 16 largest classes; 4 more have 5 images"
    )


def test_an_empty_class_and_letters_of_no_face_are_drawn(make: Make, tmp_path: Path) -> None:
    cards = []
    for name in ("猫", "class 0", "c"):
        shown = draw(make([0, 0, 2], (name, "leer", "Hündin")), tmp_path / "card.png")
        assert shown["rows"] == [0, 1, 2]
        with Image.open(tmp_path / "card.png") as card:
            cards.append(card.tobytes())
    assert cards[0] == cards[1] != cards[2]


def test_large_images_are_said_to_be_shrunk(make: Make) -> None:
    prepared = describe.open_prepared(make([0], ()), "train")
    layout = describe.plan(512, 512, 1, 1, labeled=False)
    assert describe.footer(prepared, 1, layout, 3) == "1 of 1 images of train, chosen with seed 3 · shrunk to 1/2"


def test_captions() -> None:
    size, splits = describe.captions(manifest(LABELS, PETS, (16, 64, 3)))
    assert size == "source folder · 16 x 64, RGB · crop short-side, box · labels class, 3 classes"
    assert splits == "train 100 (all[0:90%]) · valid empty"
    assert describe.captions(manifest([0], (), (8, 8, 1)))[0].endswith("no labels")


@pytest.mark.parametrize("key", [*describe.KEYS, *(f"splits.valid.{key}" for key in describe.SPLIT_KEYS)])
def test_an_incomplete_manifest_is_refused(make: Make, key: str) -> None:
    def cut(content: dict[str, Any]) -> None:
        *path, last = key.split(".")
        for part in path:
            content = content[part]
        del content[last]

    folder = make(LABELS, change=cut)
    with pytest.raises(ValueError, match=rf"pets/manifest.json: must say what {key} is; run `python -m ddpm prepare`"):
        describe.read_manifest(folder)


def test_what_the_manifest_is_not_about_is_refused(make: Make) -> None:
    folder = make(LABELS)
    with pytest.raises(ValueError, match="pets: --split must have images, valid has none; name train"):
        describe.open_prepared(folder, "valid")
    content = json.loads((folder / store.MANIFEST).read_text())
    for labels in ([0] * 50 + [1] * 20 + [2] * 30, [3, *LABELS[1:]], [-1, *LABELS[1:]], [2**60, *LABELS[1:]]):
        store.write_labels(folder / "train_labels.npy", np.array(labels, dtype=np.int64))
        with pytest.raises(
            ValueError, match=r"train_labels.npy: must hold the labels that manifest.json counts, got oth"
        ):
            describe.open_prepared(folder, "train")
    (folder / store.MANIFEST).write_text(json.dumps(content | {"size": [8, 16]}))
    with pytest.raises(
        ValueError, match=r"train.npy: must hold the images that manifest.json is about, got \(100, 8, 8"
    ):
        describe.open_prepared(folder, "train")
    del content["splits"]["train"]["images_of_class"]["dog"]
    (folder / store.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"must say what splits.train.images_of_class.dog is"):
        describe.open_prepared(folder, "train")
