"""Tar files without unpacking: the place of every member is found once, members are read by place.

A compressed tar has no places. It is decompressed once into one file of the working folder, member by member checked;
nothing is written under a name that the archive chooses. `tarfile` is not used: it ends without a word at a damaged
header, reads what extended headers claim to be, however long, and takes three times as long.
"""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from ddpm.data.catalog import Item
from ddpm.data.zips import ARRAY, PIECE_BYTES, require_inside, require_modest

COMPRESSIONS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""How a compressed file begins, and what reads it."""
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)

BLOCK = 512
END = bytes(BLOCK)
"""After the last member. Without it, what is missing behind a cut could not be seen."""
NAME, SIZE, CHECKSUM, KIND = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
MAGIC, PREFIX = slice(257, 263), slice(345, 500)
"""Fields of a header (POSIX.1-1988); those who write GNU tars use the place of the prefix otherwise."""
FILE, FOLDER, LINK = (b"0", b"\0", b"7"), b"5", (b"1", b"2")
ABOUT = LONG_NAME, LONG_LINK, ABOUT_NEXT, ABOUT_ALL = b"L", b"K", b"x", b"g"
"""Kinds whose content is about other members: the first two of GNU, the others of POSIX.1-2001."""
ABOUT_BYTES, MOST_DIGITS = 2**20, 20
"""Of such a content at most: it is read into memory; and of a number in it."""
MOST_BYTES = 2**62
SPARSE = b"GNU.sparse."
"""How the keys begin that say of a member that its content is not its content."""


class Member(NamedTuple):
    """A file in a tar: its name, and the place that `TarReader` finds it by."""

    name: str
    size: int
    offset: int


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed by gzip, bzip2 or xz, by its first bytes."""
    with path.open("rb") as file:
        return file.read(6).startswith(tuple(COMPRESSIONS))


def is_tar(path: Path) -> bool:
    """Whether a file is an uncompressed tar, by the checksum of its first header."""
    with path.open("rb") as file:
        header = file.read(BLOCK)
    try:
        return len(header) == BLOCK and (header == END or _is_whole(header))
    except ValueError:
        return False


def read_members(path: Path) -> Iterator[Member]:
    """The files of an uncompressed tar, in its order; folders are passed over.

    Raises:
        ValueError: damaged, or a member that is unsafe: outside of the tar, or neither file nor folder.
    """
    try:
        with path.open("rb") as file:
            yield from _members(path, file.read, lambda size: file.seek(size, os.SEEK_CUR))
    except DAMAGE as error:
        raise _damaged(path, error) from None


def decompress_tar(path: Path, out: Path) -> Iterator[Member]:
    """Decompress a tar into one file, and find its members on the way; the file is whole when all of them are taken.

    Args:
        path: compressed by gzip, bzip2 or xz.
        out: where the uncompressed tar goes.

    Raises:
        ValueError: damaged, or a member that is unsafe or a bomb.
    """
    stored, announced = path.stat().st_size, {True: 0, False: 0}
    with path.open("rb") as file:
        start = file.read(6)
    opener = next(opener for mark, opener in COMPRESSIONS.items() if start.startswith(mark))
    try:
        with opener(path, "rb") as packed, out.open("wb") as plain:
            tee = _Tee(path, stored, packed, plain)
            for member in _members(path, tee.read, tee.skip):
                kind = member.name.endswith(ARRAY)
                announced[kind] += member.size
                require_modest(path, member.name, announced[kind], stored)  # before a byte of it is decompressed
                tee.num_announced += member.size
                yield member
            while tee.read(PIECE_BYTES):  # to the end, where the checksum is compared
                pass
    except DAMAGE as error:
        raise _damaged(path, error) from None


class TarReader:
    """Reads members by place, (size, offset); the tar is opened at the first use in each process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __reduce__(self) -> tuple[type["TarReader"], tuple[Path]]:
        return TarReader, (self._path,)  # an open file does not travel to another process

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def __call__(self, item: Item) -> bytes:
        """The content of a member.

        Raises:
            ValueError: the file has become shorter.
        """
        return b"".join(self.pieces(item))

    def pieces(self, item: Item) -> Iterator[bytes]:
        """The content of a member, piece by piece."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        size, offset = item.place
        for first in range(offset, offset + size, PIECE_BYTES):
            wanted = min(PIECE_BYTES, offset + size - first)
            piece = os.pread(self._descriptor, wanted, first)
            if len(piece) < wanted:
                raise ValueError("the member is cut short")
            yield piece


class _Tee:
    """A compressed file to read from, which copies what is read; beyond what members announced it is no bomb either."""

    def __init__(self, path: Path, stored: int, source: IO[bytes], copy: IO[bytes]) -> None:
        self._path, self._stored, self._source, self._copy = path, stored, source, copy
        self.num_announced, self._num_bytes = 0, 0

    def read(self, size: int) -> bytes:
        content = self._source.read(size)
        self._copy.write(content)
        self._num_bytes += len(content)
        require_modest(self._path, self._path.name, self._num_bytes - self.num_announced, self._stored)
        return content

    def skip(self, size: int) -> None:
        while size and (piece := self.read(min(size, PIECE_BYTES))):
            size -= len(piece)


def _members(path: Path, read: Callable[[int], bytes], skip: Callable[[int], object]) -> Iterator[Member]:
    """Members by their headers, with `read` and `skip` of a file that is at its start.

    Raises:
        EOFError: a header that does not hold, or no end.
        ValueError: an unsafe member.
    """
    at = 0
    about: dict[bytes, bytes] = {}
    while (header := _whole(read, BLOCK, at)) != END:
        kind, size = _kind_and_size(header, at)
        at += BLOCK
        if kind in ABOUT:
            if size > ABOUT_BYTES:
                raise EOFError(f"{size} bytes about a member at byte {at}")
            content = _whole(read, size + -size % BLOCK, at)
            about |= _about(kind, content[:size], at)
            at += len(content)
            continue
        name, size = _name(header, about), int(about.get(b"size", size))
        if size > MOST_BYTES:
            raise EOFError(f"{name!r} of {size} bytes")
        if kind in FILE and name.endswith("/"):  # how the oldest tars tell a folder
            kind = FOLDER
        _require_safe(path, name, SPARSE if SPARSE in about else kind)
        if kind != FOLDER:
            yield Member(name, size, at)
            skip(size + -size % BLOCK)
            at += size + -size % BLOCK
        about = {}


def _whole(read: Callable[[int], bytes], size: int, at: int) -> bytes:
    content = read(size)
    if len(content) < size:
        raise EOFError(f"it ends at byte {at + len(content)} without an end mark")
    return content


def _kind_and_size(header: bytes, at: int) -> tuple[bytes, int]:
    try:
        if _is_whole(header):
            return header[KIND], _number(header[SIZE])
    except ValueError:
        pass  # of a field that holds no number
    raise EOFError(f"a damaged header at byte {at}")


def _is_whole(header: bytes) -> bool:
    return sum(header) - sum(header[CHECKSUM]) + 8 * ord(" ") == _number(header[CHECKSUM])


def _number(field: bytes) -> int:
    """A number in octal digits, or, where those do not suffice, in bytes after a byte 0x80 (GNU)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit():  # int() takes signs and underscores too
        raise ValueError
    return int(digits, 8)


def _name(header: bytes, about: dict[bytes, bytes]) -> str:
    name = about.get(b"path") or header[NAME].partition(b"\0")[0]
    prefix = header[PREFIX].partition(b"\0")[0] if header[MAGIC] == b"ustar\0" and b"path" not in about else b""
    return (prefix + b"/" + name if prefix else name).decode(errors="surrogateescape")


def _about(kind: bytes, content: bytes, at: int) -> dict[bytes, bytes]:
    """What the content of an extended header says of the next member: its path, its size, and that it is sparse."""
    if kind == LONG_NAME:
        return {b"path": content.partition(b"\0")[0]}
    if kind == LONG_LINK:
        return {}
    says: dict[bytes, bytes] = {}
    content, first = content.rstrip(b"\0"), 0
    while first < len(content):  # records of `length key=value\n`, where the length is that of the record
        digits = content[first : first + MOST_DIGITS].partition(b" ")[0]
        last = first + (int(digits) if digits.isdigit() else 0)
        key, equals, value = content[first + len(digits) + 1 : last - 1].partition(b"=")
        wrong = key == b"size" and not (value.isdigit() and len(value) <= MOST_DIGITS)
        if wrong or not equals or not first < last <= len(content):
            raise EOFError(f"a damaged extended header at byte {at}")
        if key in (b"path", b"size"):
            says[key] = value
        elif key.startswith(SPARSE):
            says[SPARSE] = value
        first = last
    if kind == ABOUT_ALL and (b"path" in says or b"size" in says):
        raise EOFError(f"one name or size for all members at byte {at}")
    return says


def _require_safe(path: Path, name: str, kind: bytes) -> None:
    require_inside(path, name, "pack it with relative names, or download the official archive")
    if kind not in (*FILE, FOLDER):
        what = "link" if kind in LINK else "device or sparse file"
        raise ValueError(f"{path}: entries must be files, got the {what} {name!r}; pack the file itself")


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: must be a whole tar file ({error}); download it again or pack it again")
