"""Zip files without unpacking: their directory read once, entry by entry, and entries read by place.

`zipfile` keeps an object of 600 bytes for every entry in every process that opens the zip; here a place is five
numbers, and a process that reads entries holds none. What a directory says is checked before anything is read.
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ddpm.data.catalog import Item

STORED, DEFLATED = 0, 8
END, END64, LOCATOR64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
CENTRAL, LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
LOCAL_LENGTHS = struct.Struct("<26x2H")
"""Of a local header: the bytes of its name and of its extra field."""
ENCRYPTED, UTF8, UNIX = 0x1, 0x800, (3, 19)
FULL = 0xFFFFFFFF
"""In a field of 4 bytes: the number stands in the zip64 extra field."""
EXTRA64 = 1
MOST_EXPANSION, SMALL_BYTES = 200, 2**20
"""An entry above 1 MiB that grows more than this is a bomb: deflate reaches 1,032 on zeros, images rarely 10."""
ARRAY, SMALL_ARRAY_BYTES = ".npy", 2**26
"""The same for an array: labels in order shrink a thousandfold, too."""
PIECE_BYTES = 2**18
"""Of stored bytes that are unpacked at once: 256 MiB at the very most."""
DIRECTORY_BYTES = 2**20
"""Of a directory that are read at once. Of small pieces, each read starves the thread that digests the archive."""
NAME_SLACK = 64
"""Bytes between header and data beyond the name: folders, letters of several bytes, an extra field."""


class Entry(NamedTuple):
    """A file in a zip: its name, and the place that `ZipReader` finds it by."""

    name: str
    size: int
    offset: int
    stored: int
    crc: int
    method: int


def read_directory(path: Path) -> Iterator[Entry]:
    """The files of a zip in the order of its directory; folders are passed over.

    Raises:
        ValueError: damaged, or an entry that is unsafe: outside of the zip, a link or device, encrypted, packed by
            another method than deflate, or a bomb.
    """
    with path.open("rb", buffering=DIRECTORY_BYTES) as file:
        try:
            start, end, count, shift = _end_record(file)
            at = file.seek(start)
            while at < end:
                entry, mode, flags, length = _central_entry(file, shift)
                at += length
                count -= 1
                _require_safe(path, entry, mode, flags)
                if entry.offset + LOCAL.size + entry.stored > start:
                    raise EOFError(f"{entry.name!r} does not lie before its directory")
                if not entry.name.endswith("/"):
                    yield entry
            if at != end or count % 2**16:  # packers without zip64 count no further
                raise EOFError("its directory has another length")
        except (struct.error, EOFError) as error:
            raise ValueError(
                f"{path}: must be a whole zip file ({error}); download it again or pack it again"
            ) from None


def require_inside(path: Path, name: str, way_out: str) -> None:
    """Refuse an entry of an archive that names a place outside of it.

    Args:
        way_out: what the message advises.

    Raises:
        ValueError: an absolute name, a drive, a backslash, or a way upwards.
    """
    outside = name.startswith("/") or name[1:2] == ":" or "\\" in name or "\0" in name
    if outside or not name or (".." in name and ".." in name.split("/")):
        raise ValueError(f"{path}: entries must lie inside the archive, got {name!r}; {way_out}")


def require_modest(path: Path, name: str, size: int, stored: int) -> None:
    """Refuse an entry of an archive that grows beyond reason when it is unpacked.

    Raises:
        ValueError: above 1 MiB (an array: 64 MiB) and more than 200 times what is stored.
    """
    if size > SMALL_BYTES and size > max(SMALL_ARRAY_BYTES if name.endswith(ARRAY) else 0, MOST_EXPANSION * stored):
        raise ValueError(
            f"{path}: entries must grow at most {MOST_EXPANSION} times, got {name!r} of {stored} bytes that unpack to "
            f"{size} (a zip bomb); do not use this archive"
        )


class ZipReader:
    """Reads entries by place, (size, offset, stored, crc, method); each process opens the zip at its first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __reduce__(self) -> tuple[type["ZipReader"], tuple[Path]]:
        return ZipReader, (self._path,)  # an open file does not travel to another process

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def __call__(self, item: Item) -> bytes:
        """The content of an entry; its checksum is verified.

        Raises:
            ValueError: damaged, or another entry than the directory says.
        """
        size, offset, stored, crc, method = item.place
        if method != STORED or stored > PIECE_BYTES:
            return b"".join(self.pieces(item))
        # at once: most photographs are small and stored, and a call of the system costs as much as their checksum
        guess = len(item.name) + NAME_SLACK
        piece = os.pread(self._open(), LOCAL.size + guess + stored, offset)
        start = _data_start(item, piece)
        content = piece[start : start + stored]
        if len(content) < stored:  # a long name or extra field
            return b"".join(self.pieces(item))
        _require_whole(size - stored, zlib.crc32(content), crc)
        return content

    def pieces(self, item: Item) -> Iterator[bytes]:
        """The content of an entry, piece by piece; the checksum is verified after the last one."""
        size, offset, stored, crc, method = item.place
        start = offset + _data_start(item, os.pread(self._open(), LOCAL.size, offset))
        unpack = zlib.decompressobj(-zlib.MAX_WBITS) if method == DEFLATED else None
        found, left = 0, size
        for first in range(start, start + stored, PIECE_BYTES):
            piece = os.pread(self._descriptor, min(PIECE_BYTES, start + stored - first), first)
            if unpack is not None:
                piece = _unpack(unpack, piece, left + 1)  # one byte more than announced shows that there is more
            left -= len(piece)
            found = zlib.crc32(piece, found)
            if left < 0:
                break
            yield piece
            if unpack is not None and unpack.eof:  # it would keep what follows
                break
        _require_whole(left, found, crc)

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor


def _data_start(item: Item, head: bytes) -> int:
    """Where the data of an entry begin, counted from where its local header does."""
    if len(head) < LOCAL.size or not head.startswith(b"PK\3\4"):
        raise ValueError(f"no entry where the directory places {item.name}")
    name_bytes, extra_bytes = LOCAL_LENGTHS.unpack_from(head)
    start: int = LOCAL.size + name_bytes + extra_bytes
    return start


def _require_whole(left: int, found: int, crc: int) -> None:
    if left or found != crc:
        raise ValueError("the entry differs from its checksum or size")


def _unpack(unpack: "zlib._Decompress", piece: bytes, most_bytes: int) -> bytes:
    try:
        return unpack.decompress(piece, most_bytes)
    except zlib.error as error:
        raise ValueError(f"the entry does not unpack: {error}") from None


def _end_record(file: IO[bytes]) -> tuple[int, int, int, int]:
    """Where the directory starts and ends, how many entries it has, and how far all lies behind where it says."""
    length = file.seek(0, os.SEEK_END)
    tail_start = max(0, length - END.size - 0xFFFF - LOCATOR64.size)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise EOFError("no end of its directory")
    end = tail_start + at
    _, _, _, _, count, directory_bytes, start, _ = END.unpack_from(tail, at)
    locator = tail[max(0, at - LOCATOR64.size) : at]
    if locator.startswith(b"PK\6\7"):
        end, count, directory_bytes, start = _end_record64(file, end, locator)
    shift = end - directory_bytes - start  # above 0 where something was put in front of the zip
    if shift < 0:
        raise EOFError("its directory lies outside")
    return start + shift, end, count, shift


def _end_record64(file: IO[bytes], end: int, locator: bytes) -> tuple[int, int, int, int]:
    """Where the directory ends, and what the zip64 end record says of it.

    The record has no place of its own where something was put in front of the zip: then it is before its locator.
    """
    _, _, says, _ = LOCATOR64.unpack(locator)
    for place in (end - LOCATOR64.size - END64.size, says):
        if 0 <= place <= end - LOCATOR64.size - END64.size:
            file.seek(place)
            mark, *_, count, directory_bytes, start = END64.unpack(file.read(END64.size))
            if mark == b"PK\6\6":
                return place, count, directory_bytes, start
    raise EOFError("no end of its zip64 directory")


def _central_entry(file: IO[bytes], shift: int) -> tuple[Entry, int, int, int]:
    """The next entry of the directory, its mode as Unix has it (0 if unknown), its flags, and its length here."""
    head = CENTRAL.unpack(file.read(CENTRAL.size))
    mark, made, _, flags, method, _, _, crc, stored, size, name_bytes, extra_bytes, comment_bytes = head[:13]
    outer, offset = head[15:]
    if mark != b"PK\1\2":
        raise EOFError("its directory is cut short")
    # names of Unix are bytes, and packers there do not always set the flag
    encoding = "utf-8" if flags & UTF8 or made >> 8 in UNIX else "cp437"
    tail = file.read(length := name_bytes + extra_bytes + comment_bytes)
    if len(tail) < length:
        raise EOFError("its directory is cut short")
    name = tail[:name_bytes].decode(encoding, "surrogateescape")
    if FULL in (size, stored, offset):
        sizes = iter(_extra64(tail[name_bytes : name_bytes + extra_bytes]))
        size, stored, offset = (next(sizes, FULL) if number == FULL else number for number in (size, stored, offset))
    return Entry(name, size, offset + shift, stored, crc, method), outer >> 16, flags, CENTRAL.size + length


def _extra64(extra: bytes) -> tuple[int, ...]:
    """The numbers of the zip64 extra field: those of size, stored size and offset that do not fit 4 bytes."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == EXTRA64:
            return struct.unpack_from(f"<{length // 8}Q", extra, 4)
        extra = extra[4 + length :]
    return ()


def _require_safe(path: Path, entry: Entry, mode: int, flags: int) -> None:
    require_inside(path, entry.name, "pack it with relative names, or download the official archive")
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "link" if kind == stat.S_IFLNK else "device"
        raise ValueError(f"{path}: entries must be files, got the {what} {entry.name!r}; pack the file itself")
    if flags & ENCRYPTED or entry.method not in (STORED, DEFLATED):
        what = "is encrypted" if flags & ENCRYPTED else f"has method {entry.method}"
        raise ValueError(f"{path}: entries must be stored or deflated, {entry.name!r} {what}; pack it again")
    if entry.method == STORED and entry.size != entry.stored:
        raise ValueError(f"{path}: {entry.name!r} must have one size, got {entry.stored}, {entry.size}; pack it again")
    require_modest(path, entry.name, entry.size, entry.stored)
