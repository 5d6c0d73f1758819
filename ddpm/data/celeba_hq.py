"""CelebA-HQ (Karras et al. 2018): 30,000 photographs of CelebA at 1024x1024, or any resized copy of them.

Its images are numbered, and that number is what all lists of it go by. How to obtain the files: data/README.md.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.attributes import look_up, read_attributes
from ddpm.data.catalog import Catalog, Items
from ddpm.data.celeba import PARTITION, by_code, note_record, read_partition, stamp_with
from ddpm.data.contents import read_whole
from ddpm.data.digests import Record
from ddpm.data.files import ARCHIVES, Files, find_download, open_files
from ddpm.data.folder import SUFFIXES, list_images
from ddpm.data.pictures import natural

FOLDER = "CelebA-HQ-img"
"""In CelebAMask-HQ (Lee et al. 2020), the folder of the photographs; what lies in others are masks of them."""
MAPPING, ATTRIBUTES = "CelebA-HQ-to-CelebA-mapping.txt", "CelebAMask-HQ-attribute-anno.txt"
NUMBER = re.compile(r"(\d+)\.\w+\Z", re.ASCII)


def open_celeba_hq(raw: Path, labels: str, scratch: Path) -> Catalog:
    """Open CelebA-HQ; splits are `all`, and where both lists are there, those of CelebA (24,183 / 2,993 / 2,824).

    Args:
        raw: folder or archive of the images, or folder of such an archive and the lists: the mapping to CelebA and
            CelebA's partition file for splits, the attribute file of CelebAMask-HQ for labels.
        labels: an attribute such as `Smiling` (classes 0 and 1), several joined by `+`, or `none`.
        scratch: folder for a decompressed copy.

    Raises:
        ValueError: no image, a list is malformed or lacks an image, images without a number, or no such attribute.
    """
    outer = open_files(find_download(raw), scratch)
    files = _open_inner(outer, scratch)
    items, record = _list_images(files)
    notes = _read_notes(outer, files)
    splits: dict[str, NDArray[np.int64]] = {"all": np.arange(len(items))}
    lists: Record = {}
    if {MAPPING, PARTITION} <= set(notes):
        splits = by_code(_split_codes(outer.path, notes, _numbers(files, items))) | splits
        lists |= note_record(f"{outer.path / PARTITION}", PARTITION, notes[PARTITION], "partition")
        lists["mapping_sha256"] = hashlib.sha256(notes[MAPPING]).hexdigest()
    picked: NDArray[np.int64] = np.zeros(len(items), dtype=np.int64)
    classes: tuple[str, ...] = ()
    if labels != "none":
        where = f"{outer.path / ATTRIBUTES}"
        if ATTRIBUTES not in notes:
            raise ValueError(f"{where}: must be here for data.labels {labels}; get it as data/README.md says")
        values, classes = read_attributes(where, notes[ATTRIBUTES], labels)
        picked = look_up(where, values, [f"{number}.jpg" for number in _numbers(files, items)])
        lists["attributes_sha256"] = hashlib.sha256(notes[ATTRIBUTES]).hexdigest()
    return Catalog(
        items=items,
        splits=splits,
        labels=picked,
        classes=classes,
        read=files.read,
        record=record | lists,
        stamp=stamp_with(files.stamp, lists),
    )


def _open_inner(outer: Files, scratch: Path) -> Files:
    """The files of the only archive in a folder without images, where it lies beside lists; else of the folder."""
    archives = outer.items.take(outer.numbers(lambda name: name.lower().endswith(ARCHIVES)))
    if len(archives) != 1 or any(name.lower().endswith(SUFFIXES) for name in outer.items.names()):
        return outer
    return open_files(outer.on_disk(archives[0], scratch), scratch)


def _list_images(files: Files) -> tuple[Items, dict[str, Any]]:
    """The photographs in the order of their numbers, however these are padded; and the record."""
    masked = len(files.numbers(_is_in_folder))
    items, record = list_images(files, _is_in_folder if masked else lambda _: True)
    order = sorted(range(len(items)), key=lambda number: natural(items.name(number)))
    return Items((items.name(number) for number in order), items.places[order]), record


def _is_in_folder(name: str) -> bool:
    return FOLDER in name.split("/")[:-1]


def _read_notes(outer: Files, files: Files) -> dict[str, bytes]:
    """Name -> content of the lists that are there; those beside an archive go before those in it."""
    notes = {}
    for name in (MAPPING, PARTITION, ATTRIBUTES):
        for place in (outer, files):
            if name not in notes and (item := place.find(name)):
                notes[name] = read_whole(place, item)
    return notes


def _numbers(files: Files, items: Items) -> list[int]:
    """The number of each image, which ends its name: 27.jpg, 00027.png, imgHQ00027.webp.

    Raises:
        ValueError: an image without a number, or two of one.
    """
    seen: dict[int, str] = {}
    for name in items.names():
        found = NUMBER.search(name.rpartition("/")[2])
        if found is None or int(found[1]) in seen:
            got = f"{name}" if found is None else f"{seen[int(found[1])]} and {name}"
            raise ValueError(
                f"{files.path}: image files of CelebA-HQ must be numbered, each number once, got {got}; take away what "
                "is none of them, or open them as source folder"
            )
        seen[int(found[1])] = name
    return list(seen)


def _split_codes(place: Path, notes: dict[str, bytes], numbers: Sequence[int]) -> NDArray[np.int64]:
    """The code in CelebA's partition of the photograph that each image is of.

    Raises:
        ValueError: a malformed list, or an image that the lists do not have.
    """
    originals: dict[int, str] = {}
    for line_number, line in enumerate(notes[MAPPING].decode("ascii", errors="replace").splitlines()[1:], start=2):
        match line.split():
            case [number, _, original] if number.isdigit():
                originals[int(number)] = original
            case []:
                continue
            case _:
                raise ValueError(f"{place / MAPPING}:{line_number}: must read like 0 119613 119614.jpg")
    names, codes = read_partition(f"{place / PARTITION}", notes[PARTITION])
    code_of = dict(zip(names, codes.tolist(), strict=True))
    if lost := [number for number in numbers if originals.get(number) not in code_of]:
        raise ValueError(
            f"{place}: {MAPPING} and {PARTITION} must have each of the {len(numbers)} images, {len(lost)} are not in "
            f"them, first {lost[0]}; take the official lists, or away, for the split all alone"
        )
    return np.array([code_of[originals[number]] for number in numbers], dtype=np.int64)
