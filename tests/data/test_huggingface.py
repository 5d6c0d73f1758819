"""Hugging Face data sets: Parquet and Arrow files with the library's metadata come back alike."""

import io
import json
import multiprocessing
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from ddpm.data.catalog import Catalog
from ddpm.data.digests import settled
from ddpm.data.huggingface import open_huggingface
from ddpm.digest import file_sha256

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}
COUNTS = {"train-00000-of-00002": 7, "train-00001-of-00002": 4, "validation-00000-of-00001": 3}


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rows(numbers: Sequence[int], features: dict[str, Any] | None = None, **columns: Any) -> pa.Table:
    """A table as the library saves it; columns replace those of the images, or add some."""
    images = pa.array([{"bytes": png(number), "path": f"{number}.png"} for number in numbers], IMAGE)
    labels = pa.array([number % 3 for number in numbers], pa.int64())
    table = pa.table({"image": images, "label": labels} | columns)
    about = {"info": {"features": FEATURES if features is None else features}}
    return table.replace_schema_metadata({"huggingface": json.dumps(about)} if features != {} else None)


def write_arrow(path: Path, table: pa.Table, *, batch_rows: int = 3, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=batch_rows)


def write_parquet(folder: Path, **tables: pa.Table) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        parquet.write_table(table, folder / f"{name}.parquet", row_group_size=3)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A download from the hub: images 0..13 in three Parquet files of two splits."""
    starts = np.cumsum([0, *COUNTS.values()])
    tables = {
        name: rows(range(start, start + count)) for (name, count), start in zip(COUNTS.items(), starts, strict=False)
    }
    write_parquet(tmp_path / "hub" / "data", **tables)
    (tmp_path / "hub" / "README.md").write_text("a data set")
    return tmp_path / "hub"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The same images as `save_to_disk` writes them, with a leftover of a computation."""
    root = tmp_path / "saved"
    for split, start, stops in (("train", 0, (7, 11)), ("validation", 11, (14,))):
        (root / split).mkdir(parents=True)
        names = [f"data-{number:05d}-of-{len(stops):05d}.arrow" for number in range(len(stops))]
        for name, stop in zip(names, stops, strict=True):
            write_arrow(root / split / name, rows(range(start, stop)))
            start = stop
        write_arrow(root / split / "cache-0123456789abcdef.arrow", rows([90, 91]))
        (root / split / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
        (root / split / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    (root / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    return root


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def contents(catalog: Catalog) -> list[object]:
    return [catalog.read(item) for item in catalog.items.take(catalog.splits["all"])]


@pytest.mark.parametrize("layout", ["hub", "saved"])
def test_images_splits_and_labels(layout: str, scratch: Path, request: pytest.FixtureRequest) -> None:
    catalog = open_huggingface(request.getfixturevalue(layout), "label", scratch)
    assert contents(catalog) == [png(number) for number in range(14)]
    assert {split: of.tolist() for split, of in catalog.splits.items()} == {
        "train": list(range(11)),
        "valid": [11, 12, 13],
        "all": list(range(14)),
    }
    assert catalog.classes == ("cat", "dog", "owl")
    assert catalog.labels.tolist() == [number % 3 for number in range(14)]
    names = list(catalog.items.names())
    expected = {"hub": "train-00001-of-00002.parquet", "saved": "train/data-00001-of-00002.arrow"}[layout]
    assert names[7:11] == [f"{expected}/{row:08d}" for row in range(4)]
    assert catalog.items.places[5:9].tolist() == [[0, 1, 2], [0, 2, 0], [1, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize("layout", ["hub", "saved"])
def test_a_zip_and_a_tar_give_the_same(
    layout: str, tmp_path: Path, scratch: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(layout)
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as tar:
        tar.add(folder, "wrapper")
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*"), reverse=True):  # the order inside must not matter
            archive.write(path, path.relative_to(folder))
    first = open_huggingface(folder, "label", scratch)
    for packed in ("packed.tar.gz", "flat.zip"):
        catalog = open_huggingface(tmp_path / packed, "label", tmp_path / f"scratch-{packed}")
        assert contents(catalog) == contents(first)
        assert list(catalog.items.names()) == list(first.items.names())
        assert catalog.labels.tolist() == first.labels.tolist()
        assert [(split, of.tolist()) for split, of in catalog.splits.items()] == [
            (split, of.tolist()) for split, of in first.splits.items()
        ]
        assert catalog.stamp == first.stamp
        archive_record = {"archive": packed, "archive_sha256": file_sha256(tmp_path / packed)}
        assert settled(catalog.record) == first.record | archive_record


def test_the_record_holds_the_digest_of_each_file(hub: Path, scratch: Path) -> None:
    path = hub / "data" / "validation-00000-of-00001.parquet"
    catalog = open_huggingface(hub, "none", scratch)
    assert catalog.record["files"][path.name] == file_sha256(path)
    assert catalog.record["image_column"] == "image"
    write_parquet(hub / "data", **{path.stem: rows([1, 2, 3])})
    assert open_huggingface(hub, "none", scratch).stamp != catalog.stamp


@pytest.mark.parametrize("layout", ["hub", "saved"])
def test_any_order_and_another_process_read_the_same(
    layout: str, scratch: Path, request: pytest.FixtureRequest
) -> None:
    catalog = open_huggingface(request.getfixturevalue(layout), "none", scratch)
    order = np.random.default_rng(0).permutation(14)
    items = catalog.items.take(order)
    assert [catalog.read(item) for item in items] == [png(number) for number in order]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(catalog.read, items)) == [png(number) for number in order]


def test_a_split_is_the_start_of_a_name_or_a_folder(tmp_path: Path, scratch: Path) -> None:
    for place, number in {"val/0000": 1, "train/part/0000": 2, "more/test": 3, "trainable-0": 4, "other": 5}.items():
        path = tmp_path / "raw" / place
        write_parquet(path.parent, **{path.name: rows([number])})
    catalog = open_huggingface(tmp_path / "raw", "none", scratch)
    of = {split: [contents(catalog)[number] for number in numbers] for split, numbers in catalog.splits.items()}
    assert (of["train"], of["valid"], of["test"]) == ([png(2)], [png(1)], [png(3)])
    assert len(of["all"]) == 5
    only = open_huggingface(write_parquet(tmp_path / "only", images=rows([1, 2])), "none", scratch)
    assert list(only.splits) == ["all"]
    train = open_huggingface(write_parquet(tmp_path / "one" / "train", part=rows([1])).parent, "none", scratch)
    assert list(train.splits) == ["train", "all"]
    assert train.items.name(0) == "train/part.parquet/00000000"


def test_several_configurations_are_refused(tmp_path: Path, scratch: Path) -> None:
    for configuration in ("large", "small"):
        write_parquet(tmp_path / "raw" / configuration, train=rows([1]), test=rows([2]))
    with pytest.raises(ValueError, match=r"files of train must lie in one place, got large/train\* and small/train\*"):
        open_huggingface(tmp_path / "raw", "none", scratch)


@pytest.mark.parametrize("write", ["parquet", "arrow"])
@pytest.mark.parametrize("lacking", ["bytes", "rows", "type"])
def test_images_that_are_elsewhere_are_refused(write: str, lacking: str, tmp_path: Path, scratch: Path) -> None:
    values = [{"bytes": png(1), "path": "1.png"}, {"bytes": None, "path": "2.png"}, {"bytes": None, "path": "3.png"}]
    if lacking == "rows":
        images = pa.array([values[0], None, None], IMAGE)
    elif lacking == "type":
        images = pa.array([values[1]] * 2 + [values[2]], pa.struct([("bytes", pa.null()), ("path", pa.string())]))
    else:
        images = pa.array(values, IMAGE)
    table = rows([1, 2, 3], image=images)
    raw = write_parquet(tmp_path / "raw", **({"train": table} if write == "parquet" else {}))
    if write == "arrow":
        write_arrow(raw / "train.arrow", table, batch_rows=2)
    num_null = 3 if lacking == "type" else 2
    with pytest.raises(ValueError, match=rf"must hold the bytes of each image, {num_null} rows have none, .*embedded"):
        open_huggingface(raw, "none", scratch)


def test_labels(tmp_path: Path, scratch: Path) -> None:
    raw = write_parquet(tmp_path / "raw", train=rows([0, 1, 2, 5], fine=pa.array([7, 0, 3, 3], pa.uint8())))
    assert open_huggingface(raw, "none", scratch).classes == ()
    fine = open_huggingface(raw, "fine", scratch)
    assert fine.classes == tuple("01234567")
    assert fine.labels.tolist() == [7, 0, 3, 3]
    with pytest.raises(ValueError, match=r"data.labels must be none or a column of integers of .*\(label, fine\)"):
        open_huggingface(raw, "image", scratch)


def test_files_that_do_not_agree_are_refused(tmp_path: Path, scratch: Path) -> None:
    other = FEATURES | {"label": {"names": ["cat", "owl", "dog"], "_type": "ClassLabel"}}
    raw = write_parquet(tmp_path / "raw", train=rows([1]), test=rows([2], other))
    assert len(open_huggingface(raw, "none", scratch).items) == 2
    with pytest.raises(ValueError, match=r"train.parquet: must have the classes of .*test.parquet, \('cat', 'owl',"):
        open_huggingface(raw, "label", scratch)
    table = rows([1], {}).rename_columns(["photo", "label"])
    with pytest.raises(ValueError, match=r"train.parquet: must have the image_column of .*, image, got photo"):
        open_huggingface(write_parquet(raw, train=table), "none", scratch)


def test_missing_files_are_refused(hub: Path, saved: Path, scratch: Path) -> None:
    shutil.copy(hub / "data" / "train-00001-of-00002.parquet", hub / "data" / "train-00001-of-00002-old.parquet")
    with pytest.raises(ValueError, match=r"train-\*-of-00002 must be here once, number 1 is here 2 times"):
        open_huggingface(hub, "none", scratch)
    (hub / "data" / "train-00001-of-00002-old.parquet").unlink()
    (hub / "data" / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(ValueError, match=r"number 0 is here 0 times; complete the download"):
        open_huggingface(hub, "none", scratch)
    (saved / "train" / "data-00000-of-00002.arrow").unlink()
    with pytest.raises(ValueError, match=r"state.json: all files that it lists .*train/data-00000-of-00002.arrow is"):
        open_huggingface(saved, "none", scratch)


def test_other_folders_are_refused(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(ValueError, match=r"raw: must hold .parquet or .arrow files, got neither"):
        open_huggingface(tmp_path / "raw", "none", scratch)
    write_parquet(tmp_path / "raw", empty=rows([]))
    with pytest.raises(ValueError, match=r"raw: must hold images, got files without rows"):
        open_huggingface(tmp_path / "raw", "none", scratch)
    write_arrow(tmp_path / "raw" / "train.arrow", rows([1]))
    with pytest.raises(ValueError, match=r"raw: must hold .parquet or .arrow files, got both: remove one kind"):
        open_huggingface(tmp_path / "raw", "none", scratch)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{}", r"state.json: must list its files as save_to_disk writes it \(KeyError"),
        ("[", r"state.json: must list its files as save_to_disk writes it \(JSONDecodeError"),
        ('{"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}', r"by indices, got _indices_da"),
    ],
)
def test_other_states_are_refused(saved: Path, scratch: Path, state: str, message: str) -> None:
    (saved / "train" / "state.json").write_text(state)
    with pytest.raises(ValueError, match=message):
        open_huggingface(saved, "none", scratch)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_files_cut_short_are_refused(suffix: str, kept: float, hub: Path, saved: Path, scratch: Path) -> None:
    root = hub if suffix == "parquet" else saved
    path = sorted(root.rglob(f"*-of-*.{suffix}"))[1]
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"of-00002.{suffix}: must be a whole Parquet or Arrow file \(.*; download"):
        open_huggingface(root, "none", scratch)
