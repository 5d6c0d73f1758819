"""What a data set offers before a pixel is read: items, splits, labels, and how to read one item."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def _all_present(names: Sequence[str]) -> None:
    """For sources that hold every item they name."""


@dataclass(frozen=True)
class Catalog:
    """An opened data set."""

    names: Sequence[str]
    """One name per item, in the official order."""
    splits: Mapping[str, NDArray[np.int64]]
    """Split name -> item numbers, in the official order."""
    labels: NDArray[np.int64]
    """(items,), 0..len(classes)-1; all 0 when there are no classes."""
    classes: tuple[str, ...]
    """Class names; empty when labels were not asked for."""
    read: Callable[[str], Image.Image]
    """Name -> whole frame; can be pickled. A damaged file raises one of `decode.DAMAGE`."""
    record: Mapping[str, str | bool]
    """Digests and versions of what was opened, for the manifest."""
    require: Callable[[Sequence[str]], None] = _all_present
    """Raises ValueError when named items are not there."""
    parallel: bool = False
    """Whether reading an item is work worth several processes; pixels in memory are not."""


class ArrayReader:
    """Reads frames that are in memory already."""

    def __init__(self, names: Sequence[str], frames: NDArray[np.uint8]) -> None:
        """Frames: (items, height, width) gray or (items, height, width, 3)."""
        self._numbers = {name: number for number, name in enumerate(names)}
        self._frames = frames

    def __call__(self, name: str) -> Image.Image:
        """The frame of one item."""
        return Image.fromarray(self._frames[self._numbers[name]])


def pick_labels(
    source: str, wanted: str, offered: str, labels: NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The labels of a source that has one kind of them, or none.

    Raises:
        ValueError: `wanted` is neither `offered` nor `none`.
    """
    if wanted == "none":
        return np.zeros_like(labels), ()
    if wanted != offered:
        raise ValueError(f"params.yaml: data.labels must be {offered} or none for {source}, got {wanted}")
    return labels, classes
