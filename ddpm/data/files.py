"""The files of a download, wherever they lie: in a folder, nested or not, in a zip, or in a tar, compressed or not.

Every source reads its files through here. Archives are read without unpacking; the order is that of a walk through the
folders, by name, so how the same files are packed changes nothing.
"""

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Item, Items
from ddpm.data.digests import Record, beside
from ddpm.data.tars import TarReader, decompress_tar, is_compressed, is_tar, read_members
from ddpm.data.zips import LOCAL, ZipReader, read_directory
from ddpm.digest import file_sha256

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""By these names a download is found; what an archive is, its first bytes say."""
ZIP_STARTS = (b"PK\3\4", b"PK\5\6")


@dataclass(frozen=True)
class Files:
    """Files, not yet opened; hidden ones are passed over."""

    path: Path
    """The folder or archive that they lie in."""
    items: Items
    """Names relative to it, with slashes; the first number of a place is the size in bytes."""
    read: Callable[[Item], bytes]
    """The content of one file; can be pickled."""
    record: Record
    """Name and digest of the archive, for the manifest; empty for a folder, whose files are digested one by one."""
    stamp: str
    """A digest of names, places, sizes and times: what is there, without reading it."""
    modified_ns: int = 0
    """When an archive was last written."""

    def numbers(self, wanted: Callable[[str], bool]) -> NDArray[np.int64]:
        """The numbers of the files whose names are wanted, in order."""
        return np.fromiter((n for n, name in enumerate(self.items.names()) if wanted(name)), np.int64)

    def find(self, name: str) -> Item | None:
        """The file of a name, in whatever folder it lies; None if there is none.

        Raises:
            ValueError: several.
        """
        found = self.items.take(self.numbers(lambda file: file.rpartition("/")[2] == name))
        if len(found) > 1:
            raise ValueError(f"{self.path}: must hold one {name}, got {found[0].name} and {found[1].name}; remove one")
        return found[0] if found else None

    def on_disk(self, item: Item, scratch: Path) -> Path:
        """A path to the content of one file, for what can only be read from a real file.

        Args:
            item: one of the files.
            scratch: folder that the content is copied into where it lies in an archive.

        Raises:
            ValueError: damaged.
        """
        if isinstance(self.read, FolderReader):
            return self.path / item.name
        digest = hashlib.sha256(item.name.encode(errors="surrogateescape")).hexdigest()
        out = scratch / f"{digest[:16]}{PurePosixPath(item.name).suffix}"
        assert isinstance(self.read, ZipReader | TarReader)
        scratch.mkdir(parents=True, exist_ok=True)
        try:
            with out.open("wb") as file:
                file.writelines(self.read.pieces(item))
            os.utime(out, ns=(self.modified_ns, self.modified_ns))  # what is in an archive is as old as the archive
        except ValueError as error:
            raise ValueError(f"{self.path}: {item.name}: {error}; download it again") from None
        return out


class FolderReader:
    """Reads the files of a folder by name."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __call__(self, item: Item) -> bytes:
        """The content of a file."""
        with open(f"{self._path}/{item.name}", "rb", buffering=0) as file:  # noqa: PTH123  (a Path costs as much as a read)
            return file.read()


def find_download(raw: Path) -> Path:
    """Where the files of a download are: the folder, the only archive in it, or the archive beside it.

    Args:
        raw: folder, archive, or either of them without the suffix.

    Raises:
        ValueError: nothing is there.
    """
    if raw.is_dir():
        inside = [entry for entry in raw.iterdir() if not entry.name.startswith(".")]
        return inside[0] if len(inside) == 1 and inside[0].name.endswith(ARCHIVES) else raw
    found = [raw] if raw.is_file() else [path for end in ARCHIVES if (path := raw.with_name(raw.name + end)).is_file()]
    if not found:
        raise ValueError(
            f"{raw}: the downloaded files must be here, as a folder or as an archive ({', '.join(ARCHIVES)}); "
            "get them as data/README.md says, set data.name, or name another place with --raw"
        )
    return found[0]


def open_files(path: Path, scratch: Path) -> Files:
    """Open a folder or an archive.

    Args:
        path: a folder, or a zip or tar by its content.
        scratch: folder for the uncompressed copy of a compressed tar; made where it does not exist.

    Raises:
        ValueError: not there, damaged, or unsafe.
    """
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise ValueError(f"{path}: the downloaded files must be here; get them as data/README.md says")
    sha256 = beside(file_sha256, path)
    record = {"archive": path.name, "archive_sha256": sha256}
    with path.open("rb") as file:
        start = file.read(4)
    if start in ZIP_STARTS:
        return _archive(path, _zipped(path), ZipReader(path), record)
    if is_tar(path):
        return _archive(path, _packed(path, read_members(path)), TarReader(path), record)
    if is_compressed(path):
        scratch.mkdir(parents=True, exist_ok=True)
        plain = scratch / f"{sha256.result()[:16]}.tar"
        return _archive(path, _packed(path, decompress_tar(path, plain)), TarReader(plain), record)
    if path.suffix.lower() == ".zip":  # with something in front, such as what unpacks it
        return _archive(path, _zipped(path), ZipReader(path), record)
    raise ValueError(f"{path}: must be a folder, a zip or a tar, got a file of another kind; check the download")


def _archive(path: Path, items: Items, read: Callable[[Item], bytes], record: Record) -> Files:
    """An opened archive; its stamp is of its size, its time and its directory, with the checksums that a zip has."""
    about = path.stat()
    known = hashlib.sha256(f"{about.st_size} {about.st_mtime_ns}".encode() + items.packed() + items.places.tobytes())
    return Files(path, items, read, record, known.hexdigest(), about.st_mtime_ns)


def is_hidden(name: str) -> bool:
    """Whether desktops or packers put a file there: one that is hidden, or in a hidden folder or `__MACOSX`."""
    path = f"/{name}/"
    return "/." in path or "/__MACOSX/" in path


def _packed(path: Path, entries: Iterable[tuple[Any, ...]]) -> Items:
    """Names and places of the entries of an archive, in the order of a walk.

    Raises:
        ValueError: a name twice.
    """
    places, width = array("q"), 2  # packed: lists of tuples would be most of the memory

    def names() -> Iterator[str]:
        nonlocal width
        for said, *place in entries:
            name = said
            if "./" in said or "//" in said:  # `tar -c ./photos` says ./photos
                name = "/".join(part for part in said.split("/") if part not in ("", "."))
            if not is_hidden(name):
                places.extend(place)
                width = len(place)
                yield name

    found = Items(names())
    found = found.at(np.frombuffer(places, np.int64).reshape(-1, width))
    return found if _in_order(found.names()) else _sorted(path, found)


def _key(name: str) -> str:
    """By which a walk through the folders sorts."""
    return name.replace("/", "\0")


def _in_order(names: Iterator[str]) -> bool:
    """Whether names are in the order of a walk, and each is there once: most archives are packed so."""
    return all(before < after for before, after in pairwise(map(_key, names)))


def _sorted(path: Path, found: Items) -> Items:
    names = list(found.names())
    order = sorted(range(len(names)), key=lambda number: _key(names[number]))
    for number, after in pairwise(order):
        if names[number] == names[after]:
            raise ValueError(f"{path}: names must be unique, got {names[number]!r} twice; pack it again")
    return Items((names[number] for number in order), found.places[order])


def _zipped(path: Path) -> Items:
    """Names and places of the entries of a zip.

    Raises:
        ValueError: entries that share bytes: so a few kilobytes unpack to petabytes (Fifield 2019).
    """
    items = _packed(path, read_directory(path))
    if len(items):
        order = np.argsort(items.places[:, 1], kind="stable")
        _, offset, stored = items.places[order, :3].T
        if (overlap := np.flatnonzero(offset[:-1] + LOCAL.size + stored[:-1] > offset[1:])).size:
            name = items.name(int(order[overlap[0]]))
            raise ValueError(
                f"{path}: entries must not overlap, got {name!r} inside another (a zip bomb); do not use it"
            )
    return items


def _open_folder(path: Path) -> Files:
    names: list[str] = []
    places = array("q")
    for entry in _walk(str(path)):
        about = entry.stat()
        names.append(entry.path[len(str(path)) + 1 :])
        places.extend((about.st_size, about.st_mtime_ns))
    table = np.frombuffer(places, np.int64).reshape(-1, 2)
    stamp = hashlib.sha256("\0".join(names).encode(errors="surrogateescape") + table.tobytes()).hexdigest()
    return Files(path, Items(names, table), FolderReader(path), {}, stamp)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    """The files of a folder and those of the folders inside, by name; hidden ones are passed over.

    Raises:
        ValueError: a folder that is a link, or that may not be read; neither file nor folder.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"{folder}: folders must be readable, got {error.strerror}; give permission") from None
    for entry in entries:
        if is_hidden(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.is_dir():
            raise ValueError(f"{entry.path}: folders inside must be real, got a link; give the folder it points to")
        elif entry.is_file():
            yield entry
        else:
            what = "broken link" if entry.is_symlink() else "device or socket"
            raise ValueError(f"{entry.path}: entries must be files or folders, got a {what}; remove or restore it")
