"""Parquet and Arrow files of images, read one group of rows at a time: a row group, or a record batch.

A group of Parquet is decoded as a whole, in every process that reads from it: groups of a thousand images are usual,
and take some hundred megabytes. A batch of Arrow stays in the file, which is mapped; only what is read is copied.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddpm.data.catalog import Item

BYTES = "bytes"
"""The field of an image column that holds the encoded file."""
FILE_START, STREAM_END = b"ARROW1", b"\xff\xff\xff\xff\0\0\0\0"
"""How an Arrow file begins, and how a whole Arrow stream ends."""


class ParquetShard:
    """An open Parquet file."""

    def __init__(self, path: Path) -> None:
        from pyarrow.parquet import ParquetFile  # half a second, and only one source needs it

        self._file = ParquetFile(path, page_checksum_verification=True)
        self.schema = self._file.schema_arrow

    def group_rows(self) -> list[int]:
        """Rows of each group."""
        about = self._file.metadata
        return [about.row_group(number).num_rows for number in range(about.num_row_groups)]

    def group(self, number: int, column: str) -> Any:
        """A column of a group, as a chunked array."""
        return self._file.read_row_group(number, [column], use_threads=False).column(0)

    def num_null(self, column: str) -> int:
        """Images without bytes, as far as the file counts them; no image is read."""
        from pyarrow import types

        about, kind = self._file.metadata, self.schema.field(column).type
        if types.is_struct(kind) and types.is_null(kind.field(BYTES).type):  # of which the file counts nothing
            return int(about.num_rows)
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
        wanted = [chunk.statistics for chunk in chunks if chunk.path_in_schema in (column, f"{column}.{BYTES}")]
        return sum(counts.null_count for counts in wanted if counts is not None and counts.has_null_count)


class ArrowShard:
    """An open Arrow file, as a stream or in the format with a directory."""

    def __init__(self, path: Path) -> None:
        from pyarrow import ipc, memory_map

        self._ipc, self._map = ipc, memory_map(str(path))
        self._directory = ipc.open_file(self._map) if self._map.read(len(FILE_START)) == FILE_START else None
        self._batch: Any = None
        if self._directory is not None:
            self.schema = self._directory.schema
            return
        self._map.seek(max(0, self._map.size() - len(STREAM_END)))
        if self._map.read() != STREAM_END:  # a stream cut between two batches looks whole otherwise
            raise ValueError("it does not end as a stream ends")
        self._rewind()
        self.schema = self._stream.schema

    def group_rows(self) -> list[int]:
        """Rows of each batch."""
        return [batch.num_rows for batch in self._batches()]

    def group(self, number: int, column: str) -> Any:
        """A column of a batch, as an array over the mapped file."""
        if self._directory is not None:
            return self._directory.get_batch(number).column(column)
        if number < self._next:
            self._rewind()
        while self._next <= number:
            self._batch = self._stream.read_next_batch()  # a stream is read forwards; no image is touched
            self._next += 1
        return self._batch.column(column)

    def num_null(self, column: str) -> int:
        """Images without bytes; no image is read."""
        return sum(image_bytes(batch.column(column)).null_count for batch in self._batches())

    def _batches(self) -> Iterator[Any]:
        if self._directory is not None:
            yield from map(self._directory.get_batch, range(self._directory.num_record_batches))
        else:
            self._rewind()
            yield from self._stream
            self._rewind()

    def _rewind(self) -> None:
        self._map.seek(0)
        self._stream, self._next, self._batch = self._ipc.open_stream(self._map), 0, None


class ShardReader:
    """Reads images by place, (file, group, row); a process keeps open the group that it read last."""

    def __init__(self, paths: tuple[str, ...], column: str) -> None:
        self._paths, self._column = paths, column
        self._number, self._group = -1, -1
        self._shard: ParquetShard | ArrowShard | None = None
        self._images: Any = None

    def __reduce__(self) -> tuple[type["ShardReader"], tuple[tuple[str, ...], str]]:
        return ShardReader, (self._paths, self._column)  # an open file does not travel to another process

    def __call__(self, item: Item) -> bytes:
        """The encoded image of a row.

        Raises:
            ValueError: damaged, or without bytes.
        """
        number, group, row = item.place
        if (number, group) != (self._number, self._group):
            with readable(item.name):
                self._move(number, group)
        content: bytes | None = self._images[row].as_py()
        if content is None:
            raise ValueError(f"{item.name}: the row has no bytes")
        return content

    def _move(self, number: int, group: int) -> None:
        self._images, self._group = None, -1  # before the next group is read: two would be twice the memory
        if self._shard is None or number != self._number:
            self._number = -1
            self._shard = open_shard(Path(self._paths[number]))
            self._number = number
        column = self._shard.group(group, self._column)
        column.validate(full=True)  # a mapped batch is whatever the file says: no place may lie outside of it
        self._images, self._group = image_bytes(column), group


def open_shard(path: Path) -> ParquetShard | ArrowShard:
    """Open a file by its suffix, `.parquet` or `.arrow`."""
    return ParquetShard(path) if path.suffix == ".parquet" else ArrowShard(path)


def image_bytes(column: Any) -> Any:
    """The encoded files of an image column: the field `bytes` of its structs, or the column itself."""
    from pyarrow import compute, types

    return compute.struct_field(column, BYTES) if types.is_struct(column.type) else column


@contextmanager
def readable(place: str) -> Iterator[None]:
    """Inside, what pyarrow raises for a damaged file becomes a ValueError that names the place."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{place}: must be a whole Parquet or Arrow file ({reason}); download it again") from None
