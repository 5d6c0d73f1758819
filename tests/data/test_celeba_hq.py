"""CelebA-HQ: the release with masks and plain copies, splits and labels by the lists, and lists that do not fit."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ddpm.data import celeba
from ddpm.data.catalog import Catalog
from ddpm.data.celeba_hq import open_celeba_hq
from ddpm.data.digests import settled
from ddpm.digest import file_sha256

pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"
ORIGINALS = [3, 9, 1, 12, 5, 11, 7, 2, 10, 4, 8, 6]
"""Image n of CelebA-HQ is this photograph of CelebA; 1 to 8 are train, 9 and 10 valid, 11 and 12 test."""
SPLITS = {"train": [0, 2, 4, 6, 7, 9, 10, 11], "valid": [1, 8], "test": [3, 5], "all": [*range(12)]}
LABELS = [2 * (number % 2) + (number % 3 == 0) for number in range(12)]


def lists() -> dict[str, bytes]:
    mapping = "".join(f"{at:<8d}{number - 1:<12d}{number:06d}.jpg\n" for at, number in enumerate(ORIGINALS))
    partition = "".join(f"{at:06d}.jpg {0 if at < 9 else 1 if at < 11 else 2}\r\n" for at in range(1, 13))
    values = "".join(f"{at}.jpg  {1 if at % 2 else -1} {-1 if at % 3 else 1} -1\n" for at in range(12))
    return {
        MAPPING: f"idx     orig_idx    orig_file\n{mapping}".encode(),
        PARTITION: partition.encode(),
        ATTRIBUTES: f"12\nMale Smiling Young\n{values}".encode(),
    }


def release(top: str = "CelebAMask-HQ/") -> dict[str, bytes]:
    """As CelebAMask-HQ is published, with CelebA's partition put beside."""
    files = {f"{top}CelebA-HQ-img/{number}.jpg": b"image %d" % number for number in range(12)}
    masks = {f"{top}CelebAMask-HQ-mask-anno/0/{number:05d}_hair.png": b"mask" for number in range(12)}
    return files | masks | {top + name: content for name, content in lists().items()}


def written(path: Path, files: dict[str, bytes]) -> Path:
    """A folder, or an archive by its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def opened(raw: Path, labels: str = "none") -> Catalog:
    return open_celeba_hq(raw, labels, raw.with_name("scratch"))


def splits_of(catalog: Catalog) -> dict[str, list[int]]:
    return {split: numbers.tolist() for split, numbers in catalog.splits.items()}


def contents_of(catalog: Catalog) -> list[object]:
    return [catalog.read(item) for item in catalog.items.take(np.arange(len(catalog.items)))]


@pytest.mark.parametrize("form", ["a", "a.zip", "a.tar", "a.tar.gz"])
def test_the_release_with_masks(form: str, tmp_path: Path) -> None:
    catalog = opened(written(tmp_path / form, release()), "Male+Smiling")
    assert list(catalog.items.names()) == [f"CelebAMask-HQ/CelebA-HQ-img/{number}.jpg" for number in range(12)]
    assert contents_of(catalog) == [b"image %d" % number for number in range(12)]
    assert splits_of(catalog) == SPLITS
    assert catalog.labels.tolist() == LABELS
    assert catalog.classes == ("not Male, not Smiling", "not Male, Smiling", "Male, not Smiling", "Male, Smiling")
    assert catalog.record["num_files"] == 12
    assert catalog.record["other_files"] == {".png": 12, ".txt": 3}
    assert {"mapping_sha256", "attributes_sha256", "partition_sha256", "partition_is_official"} <= set(catalog.record)


@pytest.mark.parametrize("form", ["CelebAMask-HQ.zip", "b.tar.gz"])
def test_lists_may_lie_beside_the_archive(form: str, tmp_path: Path) -> None:
    files = release()
    beside = {PARTITION: files.pop(f"CelebAMask-HQ/{PARTITION}")}
    written(tmp_path / "raw" / form, files)
    catalog = opened(tmp_path / "raw", "Smiling")
    assert list(catalog.splits) == ["all"], "without the partition of CelebA"
    written(tmp_path / "raw", beside)
    catalog = opened(tmp_path / "raw", "Male+Smiling")
    assert splits_of(catalog) == SPLITS
    assert catalog.labels.tolist() == LABELS
    assert contents_of(catalog) == [b"image %d" % number for number in range(12)]
    assert len(settled(catalog.record)["archive_sha256"]) == 64


@pytest.mark.parametrize("name", ["{:05d}.jpg", "celeba_hq_256/{:05d}.png", "imgHQ{:05d}.webp", "x/{}.jpg"])
def test_resized_copies_have_the_same_order_splits_and_labels(name: str, tmp_path: Path) -> None:
    files = {name.format(number): b"image %d" % number for number in range(12)}
    catalog = opened(written(tmp_path / "a.zip", files | lists()), "Male+Smiling")
    assert contents_of(catalog) == [b"image %d" % number for number in range(12)]
    assert splits_of(catalog) == SPLITS
    assert catalog.labels.tolist() == LABELS


def test_a_part_of_the_images_will_do(tmp_path: Path) -> None:
    files = {f"{number}.jpg": b"" for number in (11, 3, 8)} | lists()
    catalog = opened(written(tmp_path / "a", files), "Male+Smiling")
    assert list(catalog.items.names()) == ["3.jpg", "8.jpg", "11.jpg"]
    assert splits_of(catalog) == {"train": [2], "valid": [1], "test": [0], "all": [0, 1, 2]}
    assert catalog.labels.tolist() == [LABELS[3], LABELS[8], LABELS[11]]


@pytest.mark.parametrize("left_out", [MAPPING, PARTITION])
def test_without_both_lists_there_is_only_all(left_out: str, tmp_path: Path) -> None:
    files = {f"{number}.jpg": b"" for number in range(3)} | lists()
    del files[left_out]
    catalog = opened(written(tmp_path / "a", files))
    assert splits_of(catalog) == {"all": [0, 1, 2]}
    assert not {"mapping_sha256", "partition_sha256"} & set(catalog.record)
    assert (catalog.classes, catalog.labels.tolist()) == ((), [0, 0, 0])


def test_images_alone_need_no_numbers(tmp_path: Path) -> None:
    catalog = opened(written(tmp_path / "a", {"female/x.jpg": b"", "male/y.jpg": b""}))
    assert splits_of(catalog) == {"all": [0, 1]}


@pytest.mark.parametrize(
    ("files", "got"),
    [
        ({"1.jpg": b"", "face.jpg": b""}, "face.jpg"),
        ({"1.jpg": b"", "1a.jpg": b""}, "1a.jpg"),
        ({"a/1.jpg": b"", "b/01.png": b""}, "a/1.jpg and b/01.png"),
    ],
)
def test_images_without_a_number_of_their_own_are_refused(files: dict[str, bytes], got: str, tmp_path: Path) -> None:
    raw = written(tmp_path / "a", files | lists())
    with pytest.raises(
        ValueError, match=rf"a: image files of CelebA-HQ must be numbered, each number once, got {got}; "
    ):
        opened(raw)
    (raw / MAPPING).unlink()
    opened(raw)
    with pytest.raises(ValueError, match=rf"each number once, got {got}; "):
        opened(raw, "Smiling")


def test_images_that_the_lists_lack_are_refused(tmp_path: Path) -> None:
    raw = written(tmp_path / "a", {"1.jpg": b"", "12.jpg": b"", "13.jpg": b""} | lists())
    with pytest.raises(
        ValueError, match=rf"a: {MAPPING} and {PARTITION} must have each of the 3 images, 2 are not in them, first 12; "
    ):
        opened(raw)
    (raw / MAPPING).unlink()
    with pytest.raises(
        ValueError, match=rf"{ATTRIBUTES}: must have a line for each photograph, 2 lack one, first 12.jp"
    ):
        opened(raw, "Smiling")


@pytest.mark.parametrize("line", [b"12 11", b"x 11 000012.jpg", b"12 11 000012.jpg 3", b"\xff 1 1.jpg"])
def test_malformed_mappings_are_refused(line: bytes, tmp_path: Path) -> None:
    files = {"1.jpg": b""} | lists()
    raw = written(tmp_path / "a", files | {MAPPING: files[MAPPING] + line})
    with pytest.raises(ValueError, match=rf"{MAPPING}:14: must read like 0 119613 119614.jpg$"):
        opened(raw)


def test_malformed_and_missing_lists_are_named(tmp_path: Path) -> None:
    files = {"1.jpg": b""} | lists()
    raw = written(tmp_path / "a", files | {PARTITION: b"000001.jpg 7\n"})
    with pytest.raises(ValueError, match=rf"a/{PARTITION}:1: must read like 000001.jpg 0"):
        opened(raw)
    written(raw, files)
    with pytest.raises(
        ValueError, match=rf"^params.yaml: data.labels must be none or an attribute of {ATTRIBUTES} such"
    ):
        opened(raw, "Smile")
    (raw / ATTRIBUTES).unlink()
    with pytest.raises(
        ValueError, match=rf"a/{ATTRIBUTES}: must be here for data.labels Smiling; get it as data/README"
    ):
        opened(raw, "Smiling")


def test_a_changed_partition_is_used_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = written(tmp_path / "a", {"1.jpg": b""} | lists())
    with pytest.warns(UserWarning, match=rf"a/{PARTITION}: not the published file \(sha256 "):
        assert opened(raw).record["partition_is_official"] is False
    monkeypatch.setitem(celeba.OFFICIAL_SHA256, PARTITION, file_sha256(raw / PARTITION))
    assert opened(raw).record["partition_is_official"] is True


def test_the_stamp_is_of_images_and_lists(tmp_path: Path) -> None:
    written(tmp_path / "raw" / "a.zip", release())
    written(tmp_path / "raw", lists())
    before = opened(tmp_path / "raw", "Smiling").stamp
    assert opened(tmp_path / "raw", "Smiling").stamp == before
    for name, content in lists().items():
        written(tmp_path / "raw", {name: content + b"\n"})
        assert opened(tmp_path / "raw", "Smiling").stamp != before
        before = opened(tmp_path / "raw", "Smiling").stamp


def test_unpacked_images_go_before_an_archive(tmp_path: Path) -> None:
    written(tmp_path / "raw" / "a.zip", {"1.jpg": b"packed"})
    written(tmp_path / "raw", {"1.jpg": b"unpacked"})
    assert contents_of(opened(tmp_path / "raw")) == [b"unpacked"]


def test_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a: must hold image files \(.jpg, .* got none among 3 files"):
        opened(written(tmp_path / "a", lists()))
