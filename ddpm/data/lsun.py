"""LSUN (Yu et al. 2015): LMDB databases of encoded images, one per category and split, as published.

`bedroom_train_lmdb` is category bedroom and split train, `test_lmdb` is of no category, and an object category such as
`cat` is of no split. How to obtain them: data/README.md.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Catalog, Items, pick_labels
from ddpm.data.files import ARCHIVES, Files, find_download, open_files
from ddpm.data.lmdbs import LmdbReader, read_keys
from ddpm.digest import file_sha256

DATABASE = "data.mdb"
FOLDER = re.compile(r"(?:(?P<category>.+)_)?(?P<split>train|val|test)_lmdb")
SPLITS = {"train": "train", "val": "valid", "test": "test"}
"""What LSUN calls a split -> what it is called here."""
IMAGE_STARTS = (b"RIFF", b"\xff\xd8", b"\x89PNG")
"""WebP, as most of LSUN is, JPEG, PNG."""


@dataclass(frozen=True)
class Database:
    """One of the databases of a download."""

    name: str
    category: str
    """Empty for the test images, whose category is not published."""
    split: str
    """Empty for the object categories, which have none."""
    path: Path
    place: str
    """What messages call it."""
    archive: dict[str, Any]
    """Name and digest of the archive that it lies in."""


def open_lsun(raw: Path, labels: str, scratch: Path) -> Catalog:
    """Open LSUN; splits are those of `train`, `valid` (published as val) and `test` that are there, and `all`.

    Args:
        raw: folder of database folders or of the downloaded zips, or one archive of database folders.
        labels: `category` or `none`.
        scratch: folder that a database which lies in an archive is copied to; it has to be a real file.

    Raises:
        ValueError: no database, one twice or damaged, other labels, or labels where a category is not known.
    """
    databases = sorted(_find(find_download(raw), scratch), key=lambda database: database.name)
    _require_each_once(raw, databases)
    counts = [0] * len(databases)
    names = Items(_names(databases, counts))
    number_of = np.repeat(np.arange(len(databases)), counts)
    items = names.at(number_of[:, None])
    read = LmdbReader(tuple(str(database.path) for database in databases))
    _require_images(databases, counts, items, read)
    record = {
        database.name: {"entries": count, "sha256": file_sha256(database.path)} | database.archive
        for database, count in zip(databases, counts, strict=True)
    }
    digests = [f"{name} {about['sha256']}" for name, about in record.items()]
    classes = tuple(sorted({database.category for database in databases}))
    if labels != "none":
        _require_categories(databases)
    category_of = np.array([classes.index(database.category) for database in databases])[number_of]
    picked, classes = pick_labels("lsun", labels, "category", category_of, classes)
    return Catalog(
        items=items,
        splits=_splits(databases, number_of),
        labels=picked,
        classes=classes,
        read=read,
        record={"databases": record},
        stamp=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
    )


def _find(found: Path, scratch: Path) -> Iterator[Database]:
    """The databases in a folder or archive, and those in the archives of the folder."""
    scratch.mkdir(parents=True, exist_ok=True)
    files = open_files(found, scratch)
    yield from _databases(files, scratch)
    if found.is_dir():
        for number in files.numbers(lambda name: name.endswith(ARCHIVES)):
            folder = scratch / str(number)  # of its own: two zips may name their databases alike
            folder.mkdir(exist_ok=True)
            yield from _databases(open_files(found / files.items.name(int(number)), folder), folder)


def _databases(files: Files, scratch: Path) -> Iterator[Database]:
    for item in files.items.take(files.numbers(lambda name: PurePosixPath(name).name == DATABASE)):
        folder = PurePosixPath(item.name).parent.name or _stem(files.path.name)
        match = FOLDER.fullmatch(folder)
        category, split = (match["category"] or "", SPLITS[match["split"]]) if match else (folder, "")
        name = folder.removesuffix("_lmdb")
        place = f"{files.path}: {item.name}"
        yield Database(name, category, split, files.on_disk(item, scratch), place, files.record)


def _stem(name: str) -> str:
    """The name of a folder, or of an archive without what says that it is one."""
    return next((name.removesuffix(end) for end in ARCHIVES if name.endswith(end)), name)


def _names(databases: list[Database], counts: list[int]) -> Iterator[str]:
    """The names of all items; each is counted where its database stands."""
    for number, database in enumerate(databases):
        for key in read_keys(database.path, database.place):
            counts[number] += 1
            yield f"{database.name}/{key}"


def _splits(databases: list[Database], number_of: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    official = {
        split: np.flatnonzero(np.array([database.split == split for database in databases])[number_of])
        for split in SPLITS.values()
    }
    return {split: numbers for split, numbers in official.items() if len(numbers)} | {"all": np.arange(len(number_of))}


def _require_each_once(raw: Path, databases: list[Database]) -> None:
    if not databases:
        raise ValueError(
            f"{raw}: must hold LSUN databases such as bedroom_train_lmdb/{DATABASE} or bedroom_train_lmdb.zip, "
            "got none; download them as data/README.md says"
        )
    for one, other in pairwise(databases):
        if one.name == other.name:
            raise ValueError(f"{raw}: must hold {one.name} once, got {one.place} and {other.place}; remove one")


def _require_categories(databases: list[Database]) -> None:
    for database in databases:
        if not database.category:
            raise ValueError(
                f"{database.place}: labels must be known, got a database of no category; "
                "move it elsewhere, or set data.labels none"
            )


def _require_images(databases: list[Database], counts: list[int], items: Items, read: LmdbReader) -> None:
    """Refuse a database of something else by its first value."""
    first = np.cumsum([0, *counts[:-1]])[np.array(counts) > 0]
    for item in items.take(first):
        start = read(item)[:16]
        if not start.startswith(IMAGE_STARTS):
            place = databases[item.place[0]].place
            raise ValueError(f"{place}: values must be JPEG, PNG or WebP files, got {start!r}; give an official file")
