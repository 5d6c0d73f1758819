"""For the sources that are a few files of many small images each: they are read as a whole, into memory."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import ArrayReader, Catalog, Item, Items
from ddpm.data.files import Files


@dataclass(frozen=True)
class Contents:
    """What the files of a source hold."""

    frames: NDArray[np.uint8]
    """(images, height, width) gray or (images, height, width, 3), 0..255."""
    labels: NDArray[np.int64]
    """(images, kinds of labels)"""
    sizes: Mapping[str, int]
    """Split -> number of its images; the splits follow one another in `frames`."""
    record: dict[str, Any]
    stamp: str

    def catalog(self, labels: NDArray[np.int64], classes: tuple[str, ...]) -> Catalog:
        """The catalog; images are named by their split and their number in it.

        Args:
            labels: (images,), one kind of them, or zeros.
            classes: their names, or none.
        """
        lasts = np.cumsum(list(self.sizes.values()))
        splits = {
            split: np.arange(last - size, last) for (split, size), last in zip(self.sizes.items(), lasts, strict=True)
        }
        return Catalog(
            items=Items(f"{split}-{number:05d}" for split, size in self.sizes.items() for number in range(size)),
            splits=splits | {"all": np.arange(len(self.frames))},
            labels=labels,
            classes=classes,
            read=ArrayReader(self.frames),
            record=self.record,
            stamp=self.stamp,
            parallel=False,
        )


def read_whole(files: Files, item: Item) -> bytes:
    """The content of one file.

    Raises:
        ValueError: damaged, or it may not be read.
    """
    try:
        return files.read(item)
    except (OSError, ValueError, zlib.error) as error:
        raise ValueError(
            f"{files.path}: {item.name} must be whole ({error}); download it again (data/README.md)"
        ) from None
