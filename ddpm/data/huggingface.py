"""Image data sets of Hugging Face: Parquet files as the hub has them, Arrow files as `save_to_disk` writes them.

The images have to be inside the files. How to obtain them: data/README.md.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Catalog, Items
from ddpm.data.columns import class_names, image_column, join_labels, label_values
from ddpm.data.files import find_download, open_files
from ddpm.data.hub_files import find_shards, split_shards, without_wrapper
from ddpm.data.shards import ShardReader, open_shard, readable
from ddpm.digest import file_sha256


@dataclass(frozen=True)
class Shard:
    """What a file says without its images."""

    place: str
    """What messages call it."""
    image_column: str
    group_rows: list[int]
    labels: NDArray[np.int64]
    """(rows,); zeros where none are asked for."""
    classes: tuple[str, ...] | None
    """Class names, where the file has some."""


def open_huggingface(raw: Path, labels: str, scratch: Path) -> Catalog:
    """Open a data set of Hugging Face; splits are those of `train`, `valid` and `test` that are there, and `all`.

    A file belongs to the split that its name begins with (`train-00000-of-00004.parquet`), or else that a folder above
    it is called; `validation` and `val` are `valid`. A file of no such name is in `all` only.

    Args:
        raw: folder or archive of Parquet or of Arrow files. A process that reads images holds one group of rows of a
            Parquet file (`shards`); groups of 1,000 images are fine.
        labels: a column of integers, such as `label`, or `none`.
        scratch: folder that the files of an archive are copied to.

    Raises:
        ValueError: no file, one missing or damaged, images without bytes, files that do not agree, or no such labels.
    """
    files = open_files(find_download(raw), scratch)
    found = find_shards(files)
    scratch.mkdir(parents=True, exist_ok=True)
    paths = [files.on_disk(item, scratch) for item in found]
    shards = [_scan(f"{files.path}: {item.name}", path, labels) for item, path in zip(found, paths, strict=True)]
    _require_agreement(shards)
    places = np.concatenate([_places(number, shard.group_rows) for number, shard in enumerate(shards)])
    if not len(places):
        raise ValueError(f"{files.path}: must hold images, got files without rows; get it again (data/README.md)")
    names = without_wrapper([item.name for item in found])
    digests = {name: file_sha256(path) for name, path in zip(names, paths, strict=True)}
    picked, classes = _labels(labels, shards, len(places))
    return Catalog(
        items=Items(_row_names(names, shards), places),
        splits=split_shards(names, places[:, 0]),
        labels=picked,
        classes=classes,
        read=ShardReader(tuple(map(str, paths)), shards[0].image_column),
        record={"image_column": shards[0].image_column, "files": digests} | files.record,
        stamp=hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
    )


def _scan(place: str, path: Path, labels: str) -> Shard:
    """Look through a file without its images.

    Raises:
        ValueError: damaged, images without bytes, or no such labels.
    """
    with readable(place):
        shard = open_shard(path)
        group_rows = shard.group_rows()
    column, names = image_column(place, shard.schema), None
    with readable(place):
        num_null = shard.num_null(column)
    if num_null:
        raise ValueError(
            f"{place}: {column} must hold the bytes of each image, {num_null} rows have none, only a path; "
            "save it again with embedded bytes (save_to_disk or to_parquet of the library do that)"
        )
    values = np.zeros(sum(group_rows), dtype=np.int64)
    if labels != "none":
        names = class_names(place, shard.schema, labels)
        with readable(place):
            columns = [shard.group(number, labels) for number in range(len(group_rows))]
        values = np.concatenate([values[:0], *(label_values(place, of_group) for of_group in columns)])
    return Shard(place, column, group_rows, values, names)


def _require_agreement(shards: list[Shard]) -> None:
    first = shards[0]
    for shard in shards:
        for what in ("image_column", "classes"):
            one, other = getattr(first, what), getattr(shard, what)
            if one != other:
                raise ValueError(
                    f"{shard.place}: must have the {what} of {first.place}, {one}, got {other}; "
                    "give the files of one data set"
                )


def _places(number: int, group_rows: list[int]) -> NDArray[np.int64]:
    """(rows, 3): the number of the file, of the group in it, and of the row in the group."""
    counts = np.array(group_rows, dtype=np.int64)
    groups = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([np.full_like(groups, number), groups, rows], axis=1)


def _row_names(names: list[str], shards: list[Shard]) -> Iterator[str]:
    for name, shard in zip(names, shards, strict=True):
        for row in range(sum(shard.group_rows)):
            yield f"{name}/{row:08d}"


def _labels(wanted: str, shards: list[Shard], num_items: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if wanted == "none":
        return np.zeros(num_items, dtype=np.int64), ()
    return join_labels({shard.place: shard.labels for shard in shards}, shards[0].classes)
