"""What a data set offers before a pixel is read: items, splits, labels, and how to read one item."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddpm.data.digests import Record

ABSENT = -1
"""First number of the place of an item that a list names and the files lack."""


class Item(NamedTuple):
    """One item: its name, and the numbers by which the reader of its source finds it."""

    name: str
    place: tuple[int, ...]


class Items:
    """Names and places of many items, packed: 3 million take about 200 MB, as Python objects they would take 1 GB.

    Args:
        names: one per item, in the official order.
        places: (items, numbers); None numbers the items 0, 1, ...
    """

    def __init__(self, names: Iterable[str], places: NDArray[np.int64] | None = None) -> None:
        text, ends = bytearray(), array("q", [0])
        for name in names:
            text += name.encode(errors="surrogateescape")
            ends.append(len(text))
        self._text, self._ends = bytes(text), np.frombuffer(ends, np.int64)
        self.places = np.arange(len(ends) - 1)[:, None] if places is None else places
        assert len(self.places) == len(self)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def at(self, places: NDArray[np.int64]) -> "Items":
        """The same names at other places."""
        other = copy(self)
        other.places = places
        assert len(places) == len(self)
        return other

    def name(self, number: int) -> str:
        """The name of one item."""
        return self._text[self._ends[number] : self._ends[number + 1]].decode(errors="surrogateescape")

    def packed(self) -> bytes:
        """All names, and where each of them ends, for a digest."""
        return self._text + self._ends.tobytes()

    def raw_names(self, numbers: NDArray[np.int64]) -> Iterator[bytes]:
        """Some names as they are stored, undecoded."""
        for first, last in zip(self._ends[numbers].tolist(), self._ends[numbers + 1].tolist(), strict=True):
            yield self._text[first:last]

    def names(self) -> Iterator[str]:
        """All names, one after another."""
        text = self._text
        return (text[first:last].decode(errors="surrogateescape") for first, last in pairwise(self._ends.data))

    def __iter__(self) -> Iterator[Item]:
        """All items, as a reader wants them."""
        for name, place in zip(self.names(), self.places.tolist(), strict=True):
            yield Item(name, tuple(place))

    def part(self, numbers: NDArray[np.int64]) -> "Items":
        """Some items, packed as all are: so they travel fast to other processes."""
        part, names = copy(self), list(self.raw_names(numbers))
        part._text, part._ends = b"".join(names), np.cumsum([0, *map(len, names)])
        part.places = self.places[numbers]
        return part

    def take(self, numbers: NDArray[np.int64]) -> list[Item]:
        """Some items, as a reader wants them."""
        return list(self.part(numbers))


@dataclass(frozen=True)
class Catalog:
    """An opened data set."""

    items: Items
    splits: Mapping[str, NDArray[np.int64]]
    """Split name -> item numbers, in the official order."""
    labels: NDArray[np.int64]
    """(items,), 0..len(classes)-1; all 0 when there are no classes."""
    classes: tuple[str, ...]
    """Class names; empty when labels were not asked for."""
    read: Callable[[Item], bytes | NDArray[np.uint8]]
    """Item -> an encoded image, or pixels (height, width) or (height, width, 3); can be pickled.

    A damaged item raises one of `frames.DAMAGE`.
    """
    record: Record
    """Digests and versions of what was opened, for the manifest."""
    stamp: str
    """A digest of what was opened: unfinished work on anything else is not continued."""
    way_out: str = "download it again (data/README.md)"
    """What to do about missing or damaged items, for messages."""
    parallel: bool = True
    """Whether reading an item is work worth several processes; pixels in memory are not."""


class ArrayReader:
    """Reads frames that are in memory already, by their number."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        """Frames: (items, height, width) gray or (items, height, width, 1 or 3)."""
        self._frames = frames

    def __call__(self, item: Item) -> NDArray[np.uint8]:
        """The frame of one item."""
        frame: NDArray[np.uint8] = self._frames[item.place[0]]
        return frame


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
