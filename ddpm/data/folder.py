"""Any folder, zip or tar of image files: with or without class folders, nested or not, of mixed formats and sizes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Catalog, Items, pick_labels
from ddpm.data.files import Files, find_download, open_files

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
"""Of image files, in any case; what is in them, their bytes say."""
MOST_BYTES = 2**28
"""Of one image file: it is read into memory."""
SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""Name of a folder, in any case -> the official split that it holds."""


def open_folder(raw: Path, labels: str, scratch: Path) -> Catalog:
    """Open image files; splits are the first folders, if all are called like splits (train, val, test); and `all`.

    Args:
        raw: folder or archive. Folders around all images, such as `flowers/`, are looked through.
        labels: `folder`, the first folder below the split or the top, or `none`.
        scratch: folder for a decompressed copy.

    Raises:
        ValueError: nothing there, no image, one of more than 256 MiB, other labels, or images without a class folder.
    """
    files = open_files(find_download(raw), scratch)
    items, record = list_images(files)
    depth = _depth(items)
    splits: dict[str, NDArray[np.int64]] = {}
    if all(_folder(name, depth).lower() in SPLIT_FOLDERS for name in items.names()):
        split_of = np.array([SPLIT_FOLDERS[_folder(name, depth).lower()] for name in items.names()])
        found = {split: np.flatnonzero(split_of == split) for split in dict.fromkeys(SPLIT_FOLDERS.values())}
        splits = {split: numbers for split, numbers in found.items() if len(numbers)}
        depth += 1
    none: tuple[NDArray[np.int64], tuple[str, ...]] = np.zeros(len(items), np.int64), ()
    picked, classes = pick_labels(
        "folder", labels, "folder", *(_classes(files.path, items, depth) if labels == "folder" else none)
    )
    return Catalog(
        items=items,
        splits=splits | {"all": np.arange(len(items))},
        labels=picked,
        classes=classes,
        read=files.read,
        record=record,
        stamp=files.stamp,
    )


def list_images(files: Files, is_wanted: Callable[[str], bool] = lambda _: True) -> tuple[Items, dict[str, Any]]:
    """The image files among files, and the record of what they lie in.

    Args:
        files: of a download.
        is_wanted: name -> whether to take an image file; all by default.

    Returns:
        The image files in their order; and `num_files`, and in `other_files` how many were passed over, by suffix.

    Raises:
        ValueError: no image file, or one of more than 256 MiB.
    """
    others: Counter[str] = Counter()

    def is_image(name: str) -> bool:
        stem, _, end = name.rpartition("/")[2].rpartition(".")
        suffix = f".{end.lower()}" if stem else "none"
        wanted = suffix in SUFFIXES and is_wanted(name)
        if not wanted:
            others[suffix] += 1
        return wanted

    numbers = files.numbers(is_image)
    if not len(numbers):
        raise ValueError(
            f"{files.path}: must hold image files ({', '.join(SUFFIXES)}), got none among {len(files.items)} files; "
            "check the download"
        )
    places = files.items.places[numbers]
    if (large := np.flatnonzero(places[:, 0] > MOST_BYTES)).size:
        name = files.items.name(int(numbers[large[0]]))
        raise ValueError(
            f"{files.path}: image files must have at most {MOST_BYTES} bytes, got {name} of {places[large[0], 0]}; "
            "make it smaller or remove it"
        )
    items = files.items
    if len(numbers) < len(items):
        items = Items((items.name(number) for number in numbers), places)
    return items, files.record | {"num_files": len(items), "other_files": dict(sorted(others.items()))}


def _folder(name: str, depth: int) -> str:
    """The folder at a depth of a name, empty where there is none."""
    folders = name.split("/")[:-1]
    return folders[depth] if len(folders) > depth else ""


def _depth(items: Items) -> int:
    """How many folders lie around all images, up to one that is called like a split."""
    around = items.name(0).rpartition("/")[0]
    for name in items.names():
        while around and not name.startswith(f"{around}/"):
            around = around.rpartition("/")[0]
    folders = around.split("/") if around else []
    return next((number for number, folder in enumerate(folders) if folder.lower() in SPLIT_FOLDERS), len(folders))


def _classes(place: Path, items: Items, depth: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels by class folder, numbered in the order of their names.

    Raises:
        ValueError: images that lie in none.
    """
    folders = [intern(_folder(name, depth)) for name in items.names()]
    if lost := [number for number, folder in enumerate(folders) if not folder]:
        raise ValueError(
            f"{place}: data.labels folder needs every image in a class folder, {len(lost)} lie in none, "
            f"first {items.name(lost[0])}; move them into one or out, or set data.labels none"
        )
    classes = tuple(sorted(set(folders)))
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[folder] for folder in folders], dtype=np.int64), classes
