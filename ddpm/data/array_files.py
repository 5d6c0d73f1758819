"""Which files of a download are arrays of images, and which are their labels.

| files | splits |
|---|---|
| `images.npy`, or a single .npy of any name | `all` |
| any of `train.npy`, `valid.npy`, `test.npy` | their names, and `all` |
| one .npz with `arr_0` (labels: `arr_1`), or with `images` (`labels`) | `all` |
| one .npz with `x_train` (`y_train`), `x_test` (`y_test`) | `train`, `test`, `all` |

The labels of `train.npy` are in `train_labels.npy`, and so on.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ddpm.data.catalog import Item, Items
from ddpm.data.files import Files, FolderReader, find_download, open_files
from ddpm.digest import file_sha256

NPY, NPZ = ".npy", ".npz"
LAYOUTS: dict[str, list[dict[str, str]]] = {
    NPY: [{"images": "images_labels"}, {"train": "train_labels", "valid": "valid_labels", "test": "test_labels"}],
    NPZ: [{"arr_0": "arr_1"}, {"images": "labels"}, {"x_train": "y_train", "x_test": "y_test"}],
}
"""Arrays of images that may stand together, and the names of their labels."""


@dataclass(frozen=True)
class ArrayFiles:
    """Arrays that were found, not yet opened."""

    files: Files
    arrays: Mapping[str, Item]
    """Name of an array -> its file, or its member in the .npz."""
    layout: Mapping[str, str]
    """Arrays of images, in the order of the table -> the arrays of their labels, which may not be there."""
    record: Mapping[str, Any]

    def place(self, name: str) -> str:
        """An array, for messages."""
        return f"{self.files.path}: {self.arrays[name].name}"


def find_arrays(raw: Path, scratch: Path) -> ArrayFiles:
    """Find the arrays of a download.

    Args:
        raw: a folder or an archive, a single .npy or .npz, or one of them without the suffix.
        scratch: folder that an .npz in an archive is copied into.

    Raises:
        ValueError: nothing there, damaged, or arrays of no layout or of several.
    """
    path = _find_path(raw)
    if path.is_file() and path.suffix == NPY:
        return _single(path)
    files = open_files(path, scratch)
    if path.is_file() and path.suffix == NPZ:
        return _arranged(files, NPZ, files.record)
    packed = _by_name(files, NPZ)
    if not packed:
        return _arranged(files, NPY, files.record)
    (item, *others) = [*packed.values(), *_by_name(files, NPY).values()]
    if others:
        raise ValueError(f"{path}: must hold .npy files or one .npz, got {item.name} and {others[0].name}; remove one")
    real = files.on_disk(item, scratch)
    with renamed(real, f"{path}: {item.name}"):
        members = open_files(real, scratch)
    return _arranged(replace(members, path=path / item.name), NPZ, files.record or members.record)


@contextmanager
def renamed(path: Path, place: str) -> Iterator[None]:
    """Inside, errors about a path, which may be a copy of the working folder, name another place.

    Raises:
        ValueError: the error, renamed.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {str(error).removeprefix(f'{path}: ')}") from None


def _find_path(raw: Path) -> Path:
    beside = [path for end in (NPY, NPZ) if (path := raw.with_name(raw.name + end)).is_file()]
    if raw.exists() or not beside:
        return find_download(raw)
    if len(beside) > 1:
        raise ValueError(f"{raw}: must be one file, got {beside[0].name} and {beside[1].name}; remove one")
    return beside[0]


def _single(path: Path) -> ArrayFiles:
    """One .npy of images, under any name, and its labels where they lie beside it."""
    there = {"images": path, "images_labels": path.with_name(f"{path.stem}_labels{NPY}")}
    there = {name: file for name, file in there.items() if file.is_file()}
    record = {f"{file.name}_sha256": file_sha256(file) for file in there.values()}
    items = Items(file.name for file in there.values())
    stamp = hashlib.sha256("".join(record.values()).encode()).hexdigest()
    files = Files(path.parent, items, FolderReader(path.parent), record, stamp)
    found = dict(zip(there, items.take(np.arange(len(items))), strict=True))
    return ArrayFiles(files, found, LAYOUTS[NPY][0], record)


def _arranged(files: Files, form: str, record: Mapping[str, Any]) -> ArrayFiles:
    """The layout that the arrays make.

    Raises:
        ValueError: none, or several, or .npy files besides.
    """
    arrays = _by_name(files, NPY)
    matching = [layout for layout in LAYOUTS[form] if layout.keys() & arrays.keys()]
    if len(matching) == 1:
        layout = {images: labels for images, labels in matching[0].items() if images in arrays}
        strange = arrays.keys() - layout.keys() - set(layout.values())
        if form == NPZ or not strange:  # the .npz of ADM hold statistics, too
            return ArrayFiles(files, arrays, layout, record)
    offered = ", or ".join(" and ".join(layout) for layout in LAYOUTS[form])
    raise ValueError(
        f"{files.path}: must hold arrays of images named {offered}, got {', '.join(sorted(arrays)) or 'none'}; "
        "name the arrays as data/README.md says"
    )


def _by_name(files: Files, suffix: str) -> dict[str, Item]:
    """The files of a suffix, by their names without it and without folders.

    Raises:
        ValueError: a name twice.
    """
    found: dict[str, Item] = {}
    for item in files.items.take(files.numbers(lambda name: name.endswith(suffix))):
        name = PurePosixPath(item.name).stem
        if name in found:
            raise ValueError(
                f"{files.path}: must hold one {name}{suffix}, got {found[name].name} and {item.name}; remove one"
            )
        found[name] = item
    return found
