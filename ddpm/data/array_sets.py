"""Data sets that are arrays already: uint8 images (N, height, width, 1 or 3) in .npy files or in an .npz.

Nothing is unpickled, and images stay on the disk: each process maps the arrays when it reads its first image.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.array_files import ArrayFiles, find_arrays, renamed
from ddpm.data.arrays import map_npy, open_npy
from ddpm.data.catalog import Catalog, Item, Items, pick_labels
from ddpm.digest import file_sha256

SPLITS = {"train": "train", "valid": "valid", "test": "test", "x_train": "train", "x_test": "test"}
"""Array -> official split; others have none."""
UNSPLIT = "image"
"""How images of no split are named."""
MOST_CLASSES = 100_000
"""More are not class numbers but names of other things."""


class MapReader:
    """Reads images by place, (array, row), through memory maps that each process opens at the first use."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._maps: dict[int, NDArray[np.uint8]] = {}

    def __reduce__(self) -> tuple[type["MapReader"], tuple[tuple[Path, ...]]]:
        return MapReader, (self._paths,)  # pickled, a map becomes the whole array

    def __call__(self, item: Item) -> NDArray[np.uint8]:
        """The pixels of an image: (height, width) gray or (height, width, 3)."""
        number, row = item.place
        if number not in self._maps:
            self._maps[number] = open_npy(self._paths[number])
        image = self._maps[number][row]
        return np.array(image[..., 0] if image.shape[2] == 1 else image)


def open_arrays(raw: Path, labels: str, scratch: Path) -> Catalog:
    """Open arrays of images; `ddpm.data.array_files` says which files, and which splits they make.

    Args:
        raw: folder or archive of the files, or a single .npy or .npz.
        labels: `label` (classes 0, 1, ... up to the highest label) or `none`.
        scratch: folder that arrays are copied into where they lie in an archive or an .npz.

    Raises:
        ValueError: nothing there, other arrays, damage, or no labels where they are asked for.
    """
    pick_labels("arrays", labels, "label", np.empty(0, dtype=np.int64), ())
    found = find_arrays(raw, scratch)
    paths, shapes, numbers = {}, {}, [np.empty(0, dtype=np.int64)]
    for images_name, labels_name in found.layout.items():
        path = paths[images_name] = found.files.on_disk(found.arrays[images_name], scratch)
        with renamed(path, found.place(images_name)):
            shapes[images_name] = open_npy(path).shape
        if labels == "label":
            path = paths[labels_name] = _labels_path(found, labels_name, scratch)
            with renamed(path, found.place(labels_name)):
                numbers.append(_read_labels(path, shapes[images_name][0]))
    items, splits = _arrange(shapes)
    picked = np.concatenate(numbers) if labels == "label" else np.zeros(len(items), dtype=np.int64)
    return Catalog(
        items=items,
        splits=splits,
        labels=picked,
        classes=tuple(str(number) for number in range(picked.max() + 1)) if labels == "label" else (),
        read=MapReader([paths[name] for name in found.layout]),
        record=_record(found, paths, shapes),
        stamp=found.files.stamp,
        way_out="save the arrays again",
    )


def _arrange(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Items, dict[str, NDArray[np.int64]]]:
    """Items, named by their split and their row, and the splits."""
    sizes = [shape[0] for shape in shapes.values()]
    titles = [SPLITS.get(name, UNSPLIT) for name in shapes]
    arrays = np.repeat(np.arange(len(sizes)), sizes)
    places = np.stack([arrays, np.concatenate([np.arange(size) for size in sizes])], axis=1)
    names = (f"{title}-{row:07d}" for title, size in zip(titles, sizes, strict=True) for row in range(size))
    splits = {title: np.flatnonzero(arrays == number) for number, title in enumerate(titles) if title != UNSPLIT}
    return Items(names, places), splits | {"all": np.arange(len(places))}


def _labels_path(found: ArrayFiles, name: str, scratch: Path) -> Path:
    if name not in found.arrays:
        raise ValueError(
            f"params.yaml: data.labels must be none for arrays without labels, got label, and {found.files.path} "
            f"lacks {name}; add it, one number per image"
        )
    return found.files.on_disk(found.arrays[name], scratch)


def _read_labels(path: Path, num_images: int) -> NDArray[np.int64]:
    """Labels (images,) of an array (images,) or (images, 1) of integers."""
    labels = map_npy(path)
    if labels.dtype.kind not in "iu" or labels.shape not in ((num_images,), (num_images, 1)):
        raise ValueError(
            f"{path}: must hold one integer for each of {num_images} images, got {labels.dtype} {labels.shape}; "
            "save class numbers"
        )
    if not 0 <= labels.min() <= labels.max() < MOST_CLASSES:
        raise ValueError(
            f"{path}: labels must be in 0..{MOST_CLASSES - 1}, got {labels.min()}..{labels.max()}; "
            "number the classes from 0"
        )
    return np.array(labels, dtype=np.int64).reshape(num_images)


def _record(found: ArrayFiles, paths: Mapping[str, Path], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Digests of the archive, or of the files that were used where there is none, and the shapes."""
    used = {f"{found.arrays[name].name}_sha256": path for name, path in paths.items()}
    digests = found.record or {name: file_sha256(path) for name, path in used.items()}
    return {**digests, "num_files": len(used), "shapes": {name: list(shape) for name, shape in shapes.items()}}
