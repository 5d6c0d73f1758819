"""LMDB files of images: their keys in order, their values by key."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ddpm.data.catalog import Item

if TYPE_CHECKING:
    from lmdb import Environment

_OPEN: WeakValueDictionary[tuple[int, int], "Environment"] = WeakValueDictionary()
"""(device, inode) -> what this process has open: LMDB forbids to open a file twice in one process."""


class LmdbReader:
    """Reads values by the number of their file (the place) and their key (the name behind its first slash).

    A file is opened at its first use in each process, and stays open as long as a reader of it lives.
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths = paths
        self._open: dict[int, Environment] = {}

    def __reduce__(self) -> tuple[type["LmdbReader"], tuple[tuple[str, ...]]]:
        return LmdbReader, (self._paths,)  # an open file does not travel to another process

    def __call__(self, item: Item) -> bytes:
        """The value of a key.

        Raises:
            ValueError: damaged, or no such key.
        """
        import lmdb  # only one source needs it

        number, key = item.place[0], item.name.partition("/")[2]
        try:
            if number not in self._open:
                self._open[number] = _opened(self._paths[number])
            with self._open[number].begin() as transaction:  # short: an open one keeps its view of the file
                value: bytes | None = transaction.get(key.encode())
        except lmdb.Error as error:
            raise ValueError(f"{item.name}: the database cannot be read ({error})") from None
        if value is None:
            raise ValueError(f"{item.name}: the database has no such key")
        return value


def read_keys(path: Path, place: str) -> Iterator[str]:
    """The keys of an LMDB file in its order; where values are large, a page of each is touched.

    Args:
        path: the file `data.mdb`.
        place: what messages call it.

    Raises:
        ValueError: not an LMDB file, cut short, or a key that is no ASCII.
    """
    import lmdb

    try:
        environment = _opened(str(path))
        wanted = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if path.stat().st_size < wanted:  # to read what is missing would end the process
            raise ValueError(f"it has {path.stat().st_size} of {wanted} bytes")
        with environment.begin() as transaction, transaction.cursor() as cursor:
            for key in cursor.iternext(values=False):
                yield key.decode("ascii")
    except (lmdb.Error, ValueError) as error:
        raise ValueError(f"{place}: must be a whole LMDB file of images by name ({error}); download it again") from None


def _opened(path: str) -> "Environment":
    import lmdb

    about = Path(path).stat()
    identity = about.st_dev, about.st_ino
    found = _OPEN.get(identity)
    if found is None:
        found = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, meminit=False, max_readers=1)
        _OPEN[identity] = found
    return found
