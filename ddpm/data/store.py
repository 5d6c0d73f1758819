"""The prepared store: per split images and one label array, and a manifest that says what they are.

Images are one uint8 array, or encoded (`data.store`, see `ddpm.data.encoded`). Both are plain .npy files, read through
a memory map, so opening 2 GB costs nothing and processes share it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ddpm.data.encoded import EncodedImages, npy_header, open_encoded

MANIFEST = "manifest.json"
WAY_OUT = "run `python -m ddpm prepare`"

LazyImages: TypeAlias = NDArray[np.uint8] | EncodedImages
"""(images, height, width, channels), 0..255: an array, mapped or in memory, or what is decoded when it is indexed.

A slice of either is a view that reads nothing; `np.asarray` makes an array of it.
"""


@dataclass(frozen=True)
class Split:
    """One prepared split."""

    images: LazyImages
    """(images, height, width, channels), 0..255; read through a read-only memory map."""
    labels: NDArray[np.int64]
    """(images,)"""


def images_file(split: str) -> str:
    """The file name of a split's images."""
    return f"{split}.npy"


def labels_file(split: str) -> str:
    """The file name of a split's labels."""
    return f"{split}_labels.npy"


def write_images(path: Path, shape: tuple[int, int, int, int], chunks: Iterable[NDArray[np.uint8]]) -> None:
    """Stream images into an .npy file; the bytes are those of `np.save`, the memory that of one chunk.

    Args:
        path: where to write, under any suffix.
        shape: (images, height, width, channels) of all chunks together.
        chunks: (some images, height, width, channels) each.
    """
    written = 0
    with path.open("wb") as file:
        file.write(npy_header(shape))
        for chunk in chunks:
            assert chunk.dtype == np.uint8
            assert chunk.shape[1:] == shape[1:]
            file.write(np.ascontiguousarray(chunk).data)
            written += len(chunk)
    assert written == shape[0], f"{path.name}: {written} images written, {shape[0]} announced"


def write_labels(path: Path, labels: NDArray[np.int64]) -> None:
    """Write labels as an .npy file, under any suffix."""
    with path.open("wb") as file:  # np.save would add .npy to a path
        np.save(file, labels, allow_pickle=False)


def open_split(folder: Path, split: str) -> Split:
    """Open a prepared split; images stay on the disk until they are indexed.

    Args:
        folder: where `prepare` wrote.
        split: `train` or `valid`; an experiment without held-out images has a `valid` of length 0.

    Raises:
        ValueError: a file is missing, cut short, or not what `prepare` writes.
    """
    images = _open_images(folder / images_file(split))
    labels = _load(folder / labels_file(split), memory_map=False)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{folder / images_file(split)}: must hold uint8 images (N, height, width, 1 or 3), "
            f"got {images.dtype} {images.shape}; {WAY_OUT}"
        )
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{folder / labels_file(split)}: must hold one int64 label for each of {len(images)} images, "
            f"got {labels.dtype} {labels.shape}; {WAY_OUT}"
        )
    return Split(images=images, labels=labels)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what the prepared arrays are.

    Raises:
        ValueError: the manifest is missing or not a JSON object.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: the data are not prepared; {WAY_OUT}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        manifest = None
    if not isinstance(manifest, dict):
        raise ValueError(f"{path}: must be a JSON object; {WAY_OUT} again")
    return manifest


def _open_images(path: Path) -> LazyImages:
    array = _load(path, memory_map=True)
    return open_encoded(path, array) if array.dtype == np.uint8 and array.ndim == 1 else array


def _load(path: Path, *, memory_map: bool) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: the data are not prepared; {WAY_OUT}") from None
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: must be a whole .npy file ({reason}); {WAY_OUT} again") from None
    return array
