"""CelebA, aligned and cropped (Liu et al. 2015): 202,599 photographs of faces, 178x218.

The official partition file is authoritative: it says which photographs exist and which split each belongs to. Only
the photographs that an experiment selects have to be there. How to obtain the files: data/README.md.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm.data.attributes import look_up, read_attributes
from ddpm.data.catalog import ABSENT, Catalog, Items
from ddpm.data.contents import read_whole
from ddpm.data.digests import Record, followed
from ddpm.data.files import ARCHIVES, Files, find_download, open_files

ARCHIVE, FOLDER = "img_align_celeba.zip", "img_align_celeba"
PARTITION, ATTRIBUTES = "list_eval_partition.txt", "list_attr_celeba.txt"
OFFICIAL_SHA256 = {
    ARCHIVE: "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
    PARTITION: "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
    ATTRIBUTES: "f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
}
"""As TensorFlow Datasets lists them for the files on the official drive."""
SPLIT_CODES = {"0": "train", "1": "valid", "2": "test"}
LINE = re.compile(rf"\s*(?!\.\.?\s)([^\s/\\:]+)\s+([{''.join(SPLIT_CODES)}])\s*")
"""Of the partition file: the name of a file, and the code of its split."""


def open_celeba(raw: Path, labels: str, scratch: Path) -> Catalog:
    """Open CelebA; splits are `train`, `valid`, `test` (162,770 / 19,867 / 19,962) and `all`.

    Args:
        raw: folder of the official files: the zip (preferred when both are there), a tar, or the folder of photographs,
            the partition file, and for labels the attribute file. Or one archive of all of these.
        labels: an attribute such as `Smiling` (classes 0 and 1), several joined by `+`, or `none`.
        scratch: folder for a decompressed copy.

    Raises:
        ValueError: a file is missing or malformed, or there is no such attribute.
    """
    place = find_download(raw)
    whole = None if place.is_dir() else open_files(place, scratch)
    photos, record = _open_photos(place, whole, scratch)
    partition = _note(place, whole, PARTITION)
    names, codes = read_partition(f"{place / PARTITION}", partition)
    notes = note_record(f"{place / PARTITION}", PARTITION, partition, "partition")
    items = Items(names, _places(photos, names))
    record["num_files"] = int((items.places[:, 0] != ABSENT).sum())
    picked: NDArray[np.int64] = np.zeros(len(names), dtype=np.int64)
    classes: tuple[str, ...] = ()
    if labels != "none":
        attributes, where = _note(place, whole, ATTRIBUTES), f"{place / ATTRIBUTES}"
        values, classes = read_attributes(where, attributes, labels)
        picked = look_up(where, values, names)
        notes |= note_record(where, ATTRIBUTES, attributes, "attributes")
    return Catalog(
        items=items,
        splits=by_code(codes) | {"all": np.arange(len(names))},
        labels=picked,
        classes=classes,
        read=photos.read,
        record=record | notes,
        stamp=stamp_with(photos.stamp, notes),
        way_out="complete the download (data/README.md) or select fewer, such as data.train_split train[0:9000]",
    )


def read_partition(place: str, content: bytes) -> tuple[list[str], NDArray[np.int64]]:
    """File names and split codes 0, 1, 2 in the official order.

    Args:
        place: of the partition file, for messages.
        content: of the partition file, published with CRLF.

    Raises:
        ValueError: a malformed line, a name twice, or no line at all.
    """
    names, codes = [], []
    for number, line in enumerate(content.decode("ascii", errors="replace").splitlines(), start=1):
        if match := LINE.fullmatch(line):
            name, code = match.groups()
            names.append(name)
            codes.append(int(code))
        elif line.strip():
            raise ValueError(f"{place}:{number}: must read like 000001.jpg 0 (or 1, 2), got {line[:80]!r}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{place}: must name each photograph once, got {len(names)} lines, {len(set(names))} names")
    return names, np.array(codes, dtype=np.int64)


def by_code(codes: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The splits train, valid and test from the codes 0, 1, 2 of the items."""
    return {split: np.flatnonzero(codes == int(code)) for code, split in SPLIT_CODES.items()}


def stamp_with(stamp: str, notes: Record) -> str:
    """A digest of files by their stamp, and of the lists beside them by a record of their digests."""
    return hashlib.sha256(f"{stamp} {json.dumps(notes, sort_keys=True)}".encode()).hexdigest()


def note_record(place: str, name: str, content: bytes, key: str) -> Record:
    """The digest of an annotation file; a changed file is used and said to be changed.

    Args:
        place: of the file, for the warning.
        name: as published.
        content: of the file.
        key: what the manifest calls it.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    official = sha256 == OFFICIAL_SHA256[name]
    if not official:
        warnings.warn(
            f"{place}: not the published file (sha256 {sha256}, published {OFFICIAL_SHA256[name]}); "
            "the manifest records it, and numbers are not comparable with published ones",
            stacklevel=3,
        )
    return {f"{key}_sha256": sha256, f"{key}_is_official": official}


def _open_photos(place: Path, whole: Files | None, scratch: Path) -> tuple[Files, Record]:
    """The photographs: of one archive of all, or of one in it; else beside the annotation files."""
    if whole is not None:
        inner = whole.find(ARCHIVE)
        photos = whole if inner is None else open_files(whole.on_disk(inner, scratch), scratch)
        return photos, whole.record | _is_official(photos)
    doubled = place / FOLDER / FOLDER  # as some unpackers leave it
    archives = [place / f"{FOLDER}{end}" for end in ARCHIVES]
    found = next((path for path in (*archives, doubled, place / FOLDER) if path.exists()), None)
    if found is None:
        raise ValueError(f"{place}: {ARCHIVE} or the folder {FOLDER} must be here; download it as data/README.md says")
    if found.is_dir():
        return open_files(found, scratch), {"archive": FOLDER, "archive_is_official": False}
    photos = open_files(found, scratch)
    return photos, photos.record | _is_official(photos)


def _is_official(photos: Files) -> Record:
    sha256 = photos.record["archive_sha256"]
    return {"archive_is_official": followed(sha256, lambda found: found == OFFICIAL_SHA256[ARCHIVE])}


def _note(place: Path, whole: Files | None, name: str) -> bytes:
    """The content of an annotation file."""
    if whole is None and (place / name).is_file():
        return (place / name).read_bytes()
    if whole is not None and (item := whole.find(name)):
        return read_whole(whole, item)
    raise ValueError(f"{place / name}: the official file {name} must be here; download it as data/README.md says")


def _places(photos: Files, names: Sequence[str]) -> NDArray[np.int64]:
    """Where the named photographs are, in whatever folder of an archive; ABSENT where they are not.

    Raises:
        ValueError: two photographs of one name.
    """
    rows = dict.fromkeys(names, ABSENT)
    nested = not photos.path.is_dir()  # a folder is read by name
    for row, file in enumerate(photos.items.names()):
        name = file.rpartition("/")[2] if nested else file
        if (before := rows.get(name)) is None:
            continue
        if before != ABSENT:
            raise ValueError(
                f"{photos.path}: file names must be unique, got {photos.items.name(before)!r} and {file!r}; remove one"
            )
        rows[name] = row
    found = np.fromiter(rows.values(), np.int64, len(rows))
    places = np.full((len(names), photos.items.places.shape[1]), ABSENT, dtype=np.int64)
    places[found != ABSENT] = photos.items.places[found[found != ABSENT]]
    return places
