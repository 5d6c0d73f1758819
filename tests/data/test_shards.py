"""Parquet and Arrow files: any row can be read in any order, and damage is an error that names the row."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from ddpm.data.catalog import Item
from ddpm.data.shards import ShardReader, open_shard, readable

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CONTENTS = [f"the file number {number}".encode() * 20 for number in range(8)]
GROUPS = [3, 3, 2]


def table(contents: list[bytes] = CONTENTS, *, kind: pa.DataType = IMAGE) -> pa.Table:
    images = [{"bytes": content, "path": None} for content in contents] if kind == IMAGE else contents
    names = pa.array(["one", "two"] * (len(contents) // 2) + ["one"] * (len(contents) % 2)).dictionary_encode()
    return pa.table({"name": names, "image": pa.array(images, kind), "label": pa.array(range(len(contents)))})


def write_stream(path: Path, rows: pa.Table, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows, max_chunksize=3)


def write_file(path: Path, rows: pa.Table) -> None:
    with pa.ipc.new_file(str(path), rows.schema) as writer:
        writer.write_table(rows, max_chunksize=3)


def write_parquet(path: Path, rows: pa.Table) -> None:
    parquet.write_table(rows, path, row_group_size=3)


WRITERS = {
    "data.parquet": write_parquet,
    "stream.arrow": write_stream,
    "compressed.arrow": lambda path, rows: write_stream(path, rows, "zstd"),
    "file.arrow": write_file,
}


def item(row: int) -> Item:
    return Item(f"file/{row}", (0, row // 3, row % 3))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", [IMAGE, pa.binary(), pa.large_binary()], ids=str)
def test_rows_come_back_in_any_order(name: str, kind: pa.DataType, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, table(kind=kind))
    shard = open_shard(tmp_path / name)
    assert shard.group_rows() == GROUPS
    assert shard.num_null("image") == 0
    assert [np.asarray(shard.group(number, "label")).tolist() for number in (2, 0, 1)] == [[6, 7], [0, 1, 2], [3, 4, 5]]
    reader = ShardReader((str(tmp_path / name),), "image")
    for row in [7, 0, 1, 5, 3, 6, 2, 4]:
        assert reader(item(row)) == CONTENTS[row]
        assert copy.copy(reader)(item(row)) == CONTENTS[row]


@pytest.mark.parametrize("name", WRITERS)
def test_rows_without_bytes_are_counted_and_are_errors(name: str, tmp_path: Path) -> None:
    images = pa.array([{"bytes": b"a", "path": None}, {"bytes": None, "path": "b"}, None] * 2, IMAGE)
    WRITERS[name](tmp_path / name, pa.table({"image": images}))
    assert open_shard(tmp_path / name).num_null("image") == 4
    reader = ShardReader((str(tmp_path / name),), "image")
    for row in (1, 5):
        with pytest.raises(ValueError, match=rf"file/{row}: the row has no bytes"):
            reader(item(row))
    assert reader(item(3)) == b"a"


def test_without_counts_in_the_file_they_are_found_when_read(tmp_path: Path) -> None:
    rows = pa.table({"image": pa.array([{"bytes": None, "path": "b"}], IMAGE)})
    parquet.write_table(rows, tmp_path / "data.parquet", write_statistics=False)
    assert open_shard(tmp_path / "data.parquet").num_null("image") == 0
    with pytest.raises(ValueError, match=r"file/0: the row has no bytes"):
        ShardReader((str(tmp_path / "data.parquet"),), "image")(item(0))


def test_several_files_take_turns(tmp_path: Path) -> None:
    for name, writer in WRITERS.items():
        writer(tmp_path / name, table([name.encode() + content for content in CONTENTS]))
    reader = ShardReader(tuple(str(tmp_path / name) for name in WRITERS), "image")
    for row in range(8):
        for number, name in enumerate(WRITERS):
            assert reader(Item("any", (number, row // 3, row % 3))) == name.encode() + CONTENTS[row]


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_cut_short_is_refused_wherever_the_cut_is(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, table())
    content = (tmp_path / name).read_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        (tmp_path / name).write_bytes(content[:length])
        message = r"place: must be a whole Parquet or Arrow file \(.*\); download it again"
        with pytest.raises(ValueError, match=message), readable("place"):
            open_shard(tmp_path / name).group_rows()


def test_a_stream_cut_between_two_batches_is_refused(tmp_path: Path) -> None:
    write_stream(tmp_path / "stream.arrow", table())
    (tmp_path / "stream.arrow").write_bytes((tmp_path / "stream.arrow").read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"it does not end as a stream ends"):
        open_shard(tmp_path / "stream.arrow")


def damage_parquet(path: Path) -> None:
    parquet.write_table(
        table(), path, row_group_size=3, compression="none", use_dictionary=False, write_page_checksum=True
    )
    content = path.read_bytes()
    path.write_bytes(content.replace(CONTENTS[4], CONTENTS[5]))


def damage_arrow(path: Path) -> None:
    write_stream(path, table())
    content, size = path.read_bytes(), len(CONTENTS[0])
    places = np.array([0, size, 2 * size, 3 * size], "<i4")
    start = content.index(CONTENTS[3])
    at = content.rindex(places.tobytes(), 0, start)  # where the images of the second batch begin and end
    places[1] = 2**31 - 1  # far outside of the file
    path.write_bytes(content[:at] + places.tobytes() + content[at + 16 :])


@pytest.mark.parametrize("damage", [damage_parquet, damage_arrow])
def test_damaged_images_are_errors_and_the_others_are_read(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / ("data.parquet" if damage is damage_parquet else "data.arrow")
    damage(path)
    reader = ShardReader((str(path),), "image")
    for row in (4, 5, 1, 3, 6):
        if row // 3 == 1:
            with pytest.raises(ValueError, match=rf"file/{row}: must be a whole Parquet or Arrow file \(.*; download"):
                reader(item(row))
        else:
            assert reader(item(row)) == CONTENTS[row]


def test_a_file_that_goes_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file/0: must be a whole Parquet or Arrow file \(.*No such file"):
        ShardReader((str(tmp_path / "gone.arrow"),), "image")(item(0))
