"""Arrays as data sets: every layout and packing, labels, images that stay on the disk, and what is refused."""

import io
import pickle
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ddpm.data.array_sets import open_arrays
from ddpm.data.arrays import npz_shape
from ddpm.data.catalog import Catalog

HEIGHT, WIDTH = 5, 7


def pictures(count: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, channels), dtype=np.uint8)


TRAIN, VALID, TEST = pictures(6), pictures(3, seed=1), pictures(2, seed=2)
TRAIN_LABELS, TEST_LABELS = np.array([0, 3, 1, 0, 2, 2]), np.array([[4], [0]], dtype=np.uint8)


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(*arrays: NDArray[np.generic], **named: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, *arrays, **named)
    return buffer.getvalue()


def pack(raw: Path, form: str, files: dict[str, bytes]) -> Path:
    raw.mkdir()
    if form == "folder":
        for name, content in files.items():
            (raw / name).parent.mkdir(exist_ok=True)
            (raw / name).write_bytes(content)
    elif form == "zip":
        with zipfile.ZipFile(raw / "set.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(raw / f"set.{form}", "w:gz" if form == "tar.gz" else "w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return raw


def opened(raw: Path, labels: str = "none") -> Catalog:
    return open_arrays(raw, labels, raw.parent / "scratch")


def read_all(catalog: Catalog, split: str = "all") -> NDArray[np.uint8]:
    return np.stack([catalog.read(item) for item in catalog.items.take(catalog.splits[split])])


FORMS = ["folder", "zip", "tar", "tar.gz"]


@pytest.mark.parametrize("form", FORMS)
def test_files_of_splits(form: str, tmp_path: Path) -> None:
    files = {"test.npy": npy(TEST), "train.npy": npy(TRAIN), "valid.npy": npy(VALID), "manifest.json": b"{}"}
    catalog = opened(pack(tmp_path / "raw", form, files))
    counts = {split: len(numbers) for split, numbers in catalog.splits.items()}
    assert counts == {"train": 6, "valid": 3, "test": 2, "all": 11}
    np.testing.assert_array_equal(read_all(catalog), np.concatenate([TRAIN, VALID, TEST]))
    np.testing.assert_array_equal(read_all(catalog, "test"), TEST)
    assert catalog.items.name(0) == "train-0000000"
    assert catalog.items.name(10) == "test-0000001"
    assert catalog.classes == ()
    assert catalog.labels.tolist() == [0] * 11
    assert catalog.record["shapes"]["valid"] == [3, HEIGHT, WIDTH, 3]
    assert catalog.record["num_files"] == 3
    assert ("train.npy_sha256" in catalog.record) is (form == "folder")
    assert ("archive_sha256" in catalog.record) is (form != "folder")


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_files(form: str, tmp_path: Path) -> None:
    files = {"train.npy": TRAIN, "train_labels.npy": TRAIN_LABELS, "test.npy": TEST, "test_labels.npy": TEST_LABELS}
    raw = pack(tmp_path / "raw", form, {f"inner/{name}": npy(array) for name, array in files.items()})
    catalog = opened(raw, "label")
    assert catalog.labels.dtype == np.int64
    assert catalog.labels.tolist() == [0, 3, 1, 0, 2, 2, 4, 0]
    assert catalog.classes == ("0", "1", "2", "3", "4")
    assert catalog.record["num_files"] == 4
    assert opened(raw).classes == ()
    with pytest.raises(ValueError, match=r"^params.yaml: data.labels must be label or none for arrays, got class$"):
        opened(raw, "class")


MEMBERS = {
    "adm": (npz(TRAIN, TRAIN_LABELS), "image"),
    "adm with statistics": (npz(TRAIN, TRAIN_LABELS, mu=np.zeros(3), sigma=np.eye(3)), "image"),
    "images": (npz(images=TRAIN, labels=TRAIN_LABELS), "image"),
    "keras": (npz(x_train=TRAIN[:4], y_train=TRAIN_LABELS[:4], x_test=TRAIN[4:], y_test=TRAIN_LABELS[4:]), "train"),
}


@pytest.mark.parametrize("form", [*FORMS, "single", "single beside"])
@pytest.mark.parametrize("layout", MEMBERS)
def test_members_of_an_npz(layout: str, form: str, tmp_path: Path) -> None:
    content, title = MEMBERS[layout]
    raw = tmp_path / "raw"
    if form.startswith("single"):
        (tmp_path / "raw.npz").write_bytes(content)
        raw = raw if form == "single beside" else tmp_path / "raw.npz"
    else:
        pack(raw, form, {"README.txt": b"", "data.npz": content})
    catalog = opened(raw, "label")
    np.testing.assert_array_equal(read_all(catalog), TRAIN)
    assert catalog.labels.tolist() == TRAIN_LABELS.tolist()
    assert list(catalog.splits) == (["train", "test", "all"] if layout == "keras" else ["all"])
    assert catalog.items.name(0) == f"{title}-0000000"
    archives = {"folder": "data.npz", "single": "raw.npz", "single beside": "raw.npz"}
    assert catalog.record["archive"] == archives.get(form, f"set.{form}")


@pytest.mark.parametrize("form", ["folder", "beside", "file"])
def test_one_array_of_images(form: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    if form == "folder":
        pack(raw, "folder", {"images.npy": npy(TRAIN), "images_labels.npy": npy(TRAIN_LABELS)})
    else:
        (tmp_path / "raw.npy").write_bytes(npy(TRAIN))
        (tmp_path / "raw_labels.npy").write_bytes(npy(TRAIN_LABELS))
        raw = raw if form == "beside" else tmp_path / "raw.npy"
    catalog = opened(raw, "label")
    np.testing.assert_array_equal(read_all(catalog), TRAIN)
    assert catalog.labels.tolist() == TRAIN_LABELS.tolist()
    assert list(catalog.splits) == ["all"]
    assert catalog.items.name(5) == "image-0000005"  # as of an .npz: the same images, the same splits by name
    assert f"{'images' if form == 'folder' else 'raw'}.npy_sha256" in catalog.record
    before = catalog.stamp
    path = raw / "images.npy" if form == "folder" else tmp_path / "raw.npy"
    path.write_bytes(npy(pictures(6, seed=9)))
    assert opened(raw, "label").stamp != before


def test_gray_images_have_no_last_axis_and_fortran_order_is_read(tmp_path: Path) -> None:
    gray = pictures(4, channels=1)
    files = {"train.npy": npy(gray), "test.npy": npy(np.asfortranarray(TEST))}
    catalog = opened(pack(tmp_path / "raw", "folder", files))
    np.testing.assert_array_equal(read_all(catalog, "train"), gray[..., 0])
    np.testing.assert_array_equal(read_all(catalog, "test"), TEST)


def test_images_stay_on_the_disk(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    np.save(raw / "images.npy", np.zeros((1000, 100, 100, 3), dtype=np.uint8))  # 30 MB
    tracemalloc.start()
    catalog = opened(raw)
    items = catalog.items.take(np.array([0, 999]))
    assert catalog.read(items[1]).shape == (100, 100, 3)
    assert len(pickle.dumps(catalog.read)) < 1000
    again = pickle.loads(pickle.dumps(catalog.read))  # noqa: S301  (what this test pickled)
    assert again(items[0]).flags.owndata
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # a block of the digest has 4
    assert catalog.parallel


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_missing_labels_are_refused(form: str, tmp_path: Path) -> None:
    files = {"train.npy": npy(TRAIN), "train_labels.npy": npy(TRAIN_LABELS), "test.npy": npy(TEST)}
    with pytest.raises(ValueError, match=r"^params.yaml: data.labels must be none .* lacks test_labels; add it, one"):
        opened(pack(tmp_path / "raw", form, files), "label")


LABELS = {
    "too few": (np.arange(5), r"one integer for each of 6 images, got int64 \(5,\); save class numbers"),
    "one-hot": (np.eye(6, dtype=np.int64), r"one integer for each of 6 images, got int64 \(6, 6\); save"),
    "floats": (np.zeros(6), r"one integer for each of 6 images, got float64 \(6,\); save"),
    "negative": (np.array([0, 1, -1, 0, 0, 0]), r"labels must be in 0\.\.99999, got -1\.\.1; number the classes from"),
    "huge": (np.full(6, 2**63, dtype=np.uint64), r"labels must be in 0\.\.99999, got 9223372036854775808\.\."),
    "objects": (np.array([{}] * 6, dtype=object), r"must be a whole .npy file \(.*\); save it again"),
}


@pytest.mark.parametrize("form", ["folder", "tar.gz", "npz"])
@pytest.mark.parametrize("bad", LABELS)
def test_other_labels_are_refused(bad: str, form: str, tmp_path: Path) -> None:
    labels, message = LABELS[bad]
    if form == "npz":
        raw = pack(tmp_path / "raw", "zip", {"a.npz": npz(images=TRAIN, labels=labels)})
        place = r"set.zip/a.npz: labels.npy: "
    else:
        raw = pack(tmp_path / "raw", form, {"images.npy": npy(TRAIN), "images_labels.npy": npy(labels)})
        place = rf"{'raw' if form == 'folder' else 'set.tar.gz'}: images_labels.npy: "
    with pytest.raises(ValueError, match=place + r"(must hold )?" + message):
        opened(raw, "label")
    assert len(opened(raw).items) == 6  # labels that nobody asked for are not read


IMAGES = {
    "floats": (TRAIN / np.float32(255), r"must hold uint8 images .*, got float32"),
    "channels first": (
        np.ascontiguousarray(TRAIN.transpose(0, 3, 1, 2)),
        r"got uint8 \(6, 3, 5, 7\); .*channels first",
    ),
    "no channels": (TRAIN[..., 0], r"got uint8 \(6, 5, 7\); gray images need a last axis"),
    "none": (TRAIN[:0], r"must hold uint8 images .*, got uint8 \(0, 5, 7, 3\)|must be a whole .npy file"),
    "objects": (np.array([{}] * 6, dtype=object), r"must be a whole .npy file \(.*\); save it again"),
}


@pytest.mark.parametrize("form", ["folder", "zip", "npz"])
@pytest.mark.parametrize("bad", IMAGES)
def test_other_arrays_are_refused(bad: str, form: str, tmp_path: Path) -> None:
    array, message = IMAGES[bad]
    if form == "npz":
        (tmp_path / "raw.npz").write_bytes(npz(array))
        place = "raw.npz: arr_0.npy: "
    else:
        pack(tmp_path / "raw", form, {"images.npy": npy(array)})
        place = f"{'raw' if form == 'folder' else 'set.zip'}: images.npy: "
    with pytest.raises(ValueError, match=f"{place}.*{message}"):
        opened(tmp_path / "raw")


OPEN_HEADER = npy(TRAIN).replace(b"3),", b"3((", 1)  # numpy raises TokenError


@pytest.mark.parametrize("content", [npy(TRAIN)[:-1], OPEN_HEADER, b"", b"text", pickle.dumps(TRAIN), npz(TRAIN)])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"images.npy: must be a whole .npy file \(.*\); save it again"):
        opened(pack(tmp_path / "raw", "folder", {"images.npy": content}))


def test_a_damaged_header_in_an_npz_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("arr_0.npy", OPEN_HEADER)
    with pytest.raises(ValueError, match=r"raw.npz: arr_0.npy: must be a whole .npy file \(.*EOF"):
        opened(tmp_path / "raw")
    with pytest.raises(ValueError, match=r"raw.npz: must be a whole .npz file \(.*EOF"):
        npz_shape(tmp_path / "raw.npz")


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_damaged_members_are_refused(form: str, tmp_path: Path) -> None:
    content = bytearray(npz(TRAIN))
    content[200] ^= 0xFF
    place = {"folder": "raw/a.npz", "zip": "set.zip/a.npz"}[form]
    with pytest.raises(ValueError, match=rf"{place}: arr_0.npy: .*; download it again"):
        opened(pack(tmp_path / "raw", form, {"a.npz": bytes(content)}))
    place = {"folder": "cut: a.npz: ", "zip": "set.zip: a.npz: "}[form]
    with pytest.raises(ValueError, match=rf"{place}must be a whole zip file"):
        opened(pack(tmp_path / "cut", form, {"a.npz": bytes(content[:-30])}))


WRONG = {
    "two layouts": (["images.npy", "train.npy"], r"named images, or train and valid and test, got images, train; name"),
    "a name of none": (["pictures.npy"], r"must hold arrays of images named images, or train .*, got pictures; name"),
    "a stray file": (["train.npy", "trian_labels.npy"], r"got train, trian_labels; name the arrays as data/README.md"),
    "labels alone": (["images_labels.npy"], r"got images_labels;"),
    "nothing": (["notes.txt"], r"must hold arrays of images named .*, got none;"),
    "a name twice": (["a/train.npy", "b/train.npy"], r"must hold one train.npy, got a/train.npy and b/train.npy; remo"),
    "two npz": (["a.npz", "b.npz"], r"must hold .npy files or one .npz, got a.npz and b.npz; remove one"),
    "both kinds": (["a.npz", "train.npy"], r"must hold .npy files or one .npz, got a.npz and train.npy; remove one"),
}


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("wrong", WRONG)
def test_files_of_no_layout_are_refused(wrong: str, form: str, tmp_path: Path) -> None:
    names, message = WRONG[wrong]
    raw = pack(tmp_path / "raw", form, {name: npz(TRAIN) if name.endswith(".npz") else npy(TRAIN) for name in names})
    with pytest.raises(ValueError, match=message):
        opened(raw)


def test_members_of_no_layout_are_refused(tmp_path: Path) -> None:
    for content, got in (npz(data=TRAIN), "data"), (npz(TRAIN, images=TRAIN), "arr_0, images"), (npz(), "none"):
        (tmp_path / "raw.npz").write_bytes(content)
        with pytest.raises(ValueError, match=rf"raw.npz: must hold .* arr_0, or images, or x_train and .*, got {got};"):
            opened(tmp_path / "raw")


def test_what_is_not_there_or_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the downloaded files must be here"):
        opened(tmp_path / "raw")
    (tmp_path / "raw.npy").write_bytes(npy(TRAIN))
    (tmp_path / "raw.npz").write_bytes(npz(TRAIN))
    with pytest.raises(ValueError, match=r"raw: must be one file, got raw.npy and raw.npz; remove one"):
        opened(tmp_path / "raw")
