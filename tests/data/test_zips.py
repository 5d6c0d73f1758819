"""Zip files: what `zipfile` reads, in every variant of the format; what is hostile or damaged is refused by name."""

import io
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm.data.files import Files, open_files
from ddpm.data.zips import CENTRAL, END, END64, LOCAL, LOCATOR64

CONTENTS = {"a/1.png": b"first" * 40, "b.png": bytes(300), "empty": b""}


def packed(contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.comment = comment
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def opened(path: Path, content: bytes) -> Files:
    path.write_bytes(content)
    return open_files(path, path.parent)


def contents_of(files: Files) -> dict[str, bytes]:
    return {item.name: files.read(item) for item in files.items.take(np.arange(len(files.items)))}


def written(
    entries: list[tuple[bytes, bytes]], *, made: int = 3 << 8, flags: int = 0, count: int | None = None
) -> bytes:
    """A zip of stored entries, put together by hand."""
    body, directory = bytearray(), bytearray()
    for name, content in entries:
        about = (0, 0, zlib.crc32(content), len(content), len(content), len(name), 0)
        directory += CENTRAL.pack(b"PK\1\2", made, 20, flags, 0, *about, 0, 0, 0, 0, len(body)) + name
        body += LOCAL.pack(b"PK\3\4", 20, flags, 0, *about) + name + content
    number = (len(entries) if count is None else count) % 2**16
    return bytes(body + directory) + END.pack(b"PK\5\6", 0, 0, number, number, len(directory), len(body), 0)


def as_zip64(content: bytes, *, gap: bytes = b"", count: int | None = None) -> bytes:
    """The same zip with a zip64 end record, as packers write it beyond 65,535 entries or 4 GiB."""
    *_, number, directory_bytes, start, _ = END.unpack(content[-END.size :])
    number = number if count is None else count
    end64 = END64.pack(b"PK\6\6", 44 + len(gap), 45, 45, 0, 0, number, number, directory_bytes, start) + gap
    locator = LOCATOR64.pack(b"PK\6\7", 0, len(content) - END.size, 1)
    return content[: -END.size] + end64 + locator + END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)


def patched(content: bytes, place: int, layout: str, *values: int) -> bytes:
    """The bytes with some numbers of the first entry of the directory replaced."""
    changed = bytearray(content)
    struct.pack_into(layout, changed, content.index(b"PK\1\2") + place, *values)
    return bytes(changed)


@pytest.mark.parametrize("extra_bytes", [0, 4, 60, 64, 65, 5000])
@pytest.mark.parametrize("name", ["a", "ü" * 200])
def test_entries_lie_behind_names_and_extra_fields_of_any_length(tmp_path: Path, name: str, extra_bytes: int) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.extra = struct.pack("<2H", 0xCAFE, extra_bytes - 4) + bytes(extra_bytes - 4) if extra_bytes else b""
        archive.writestr(entry, b"content")
        archive.writestr("z", b"")
    assert contents_of(opened(tmp_path / "a.zip", file.getvalue())) == {name: b"content", "z": b""}


FLAGS, METHOD, CRC, STORED, SIZE, MODE, OFFSET = 8, 10, 16, 20, 24, 40, 42
"""Where they stand in an entry of the directory; of the mode, its 16 bits."""


@settings(max_examples=80, deadline=None)
@given(
    contents=st.dictionaries(
        st.text(st.characters(exclude_characters="\\:/.\0", exclude_categories=["Cs"]), min_size=1, max_size=30),
        st.binary(max_size=3000) | st.binary(max_size=9).map(lambda part: part * 300),
        max_size=8,
    ),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    comment=st.binary(max_size=50).filter(lambda comment: b"PK" not in comment),
    front=st.binary(max_size=50).map(lambda front: front and b"#!" + front),
)
def test_contents_are_those_of_zipfile(contents, method, comment, front, tmp_path_factory) -> None:
    content = front + packed(contents, method, comment)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        theirs = {name: archive.read(name) for name in archive.namelist() if name != "__MACOSX"}
    assert contents_of(opened(tmp_path_factory.mktemp("any") / "a.zip", content)) == theirs


def test_zip64_is_read(tmp_path: Path) -> None:
    plain = packed(CONTENTS)
    assert contents_of(opened(tmp_path / "a.zip", as_zip64(plain))) == CONTENTS
    assert contents_of(opened(tmp_path / "a.zip", as_zip64(plain, gap=b"private data"))) == CONTENTS
    assert contents_of(opened(tmp_path / "a.zip", b"in front" + as_zip64(plain))) == CONTENTS
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CONTENTS.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                entry.write(content)
    assert contents_of(opened(tmp_path / "b.zip", file.getvalue())) == CONTENTS


def test_sizes_and_offsets_of_zip64_stand_in_the_extra_field(tmp_path: Path) -> None:
    extra = struct.pack("<2H2s", 0x5855, 2, b"..") + struct.pack("<2H3QL", 1, 28, 3, 3, 0, 0)
    head = (zlib.crc32(b"abc"), 2**32 - 1, 2**32 - 1, 1, len(extra), 0, 0, 0, 0, 2**32 - 1)
    body = LOCAL.pack(b"PK\3\4", 45, 0, 0, 0, 0, zlib.crc32(b"abc"), 3, 3, 1, 0) + b"xabc"
    directory = CENTRAL.pack(b"PK\1\2", 45, 45, 0, 0, 0, 0, *head) + b"x" + extra
    end = END.pack(b"PK\5\6", 0, 0, 1, 1, len(directory), len(body), 0)
    assert contents_of(opened(tmp_path / "a.zip", body + directory + end)) == {"x": b"abc"}


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("zip64", [False, True])
def test_no_entry_is_lost_where_its_number_does_not_fit(count: int, zip64: bool, tmp_path: Path) -> None:
    """Some packers know no zip64 and count entries from 0 again."""
    content = written([(b"%d" % number, b"") for number in range(count)])
    assert len(opened(tmp_path / "a.zip", as_zip64(content, count=count) if zip64 else content).items) == count


def test_names_of_unix_are_utf8_and_those_of_dos_cp437(tmp_path: Path) -> None:
    """`zip` on Linux and macOS does not set the flag, and Python's `zipfile` reads its names wrongly."""
    entries = [("ü日.jpg".encode(), b"x")]
    assert contents_of(opened(tmp_path / "a.zip", written(entries))) == {"ü日.jpg": b"x"}
    assert contents_of(opened(tmp_path / "b.zip", written(entries, made=20, flags=0x800))) == {"ü日.jpg": b"x"}
    dos = opened(tmp_path / "c.zip", written([(b"\x81\xe1.jpg", b"x")], made=20))
    assert contents_of(dos) == {"üß.jpg": b"x"}
    latin = opened(tmp_path / "d.zip", written([(b"\xfc.jpg", b"x")]))
    assert contents_of(latin) == {b"\xfc.jpg".decode(errors="surrogateescape"): b"x"}, "as os.listdir has it"


def test_names_are_made_plain(tmp_path: Path) -> None:
    files = opened(tmp_path / "a.zip", written([(b"./a//./1.png", b"x"), (b"./", b""), (b"12:30.png", b"y")]))
    assert contents_of(files) == {"a/1.png": b"x", "12:30.png": b"y"}
    with pytest.raises(ValueError, match=r"names must be unique, got 'a/1.png' twice; pack it again"):
        opened(tmp_path / "b.zip", written([(b"./a/1.png", b"x"), (b"a/1.png", b"x")]))


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "..", "/etc/x", "//x", "a\\x", "..\\x", "C:x", "c:/x", "a\0.png", "../", "", "./../x"],
)
def test_entries_outside_are_refused(name: str, tmp_path: Path) -> None:
    content = written([(b"good.png", b""), (name.encode(), b"x")])
    with pytest.raises(ValueError, match=rf"a.zip: entries must lie inside the archive, got {re.escape(repr(name))}; "):
        opened(tmp_path / "a.zip", content)


@pytest.mark.parametrize(
    ("kind", "what"),
    [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "device"), (stat.S_IFBLK, "device"), (stat.S_IFIFO, "device")],
)
def test_links_and_devices_are_refused(kind: int, what: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"a.zip: entries must be files, got the {what} 'a/1.png'; pack the file it"):
        opened(tmp_path / "a.zip", patched(packed(CONTENTS), MODE, "<H", kind | 0o644))
    opened(tmp_path / "a.zip", patched(packed(CONTENTS), MODE, "<H", stat.S_IFREG | 0o644))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(method: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"must be stored or deflated, 'x' has method {method}; pack it again$"):
        opened(tmp_path / "a.zip", packed({"x": b"x"}, method))


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"entries must be stored or deflated, 'a/1.png' is encrypted; pack it again$"):
        opened(tmp_path / "a.zip", patched(packed(CONTENTS), FLAGS, "<H", 1))


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    assert contents_of(opened(tmp_path / "a.zip", packed({"x": bytes(2**20)}))) == {"x": bytes(2**20)}
    with pytest.raises(
        ValueError, match=r"grow at most 200 times, got 'x' of \d+ bytes that unpack to 1048577 \(a zip"
    ):
        opened(tmp_path / "a.zip", packed({"x": bytes(2**20 + 1)}))
    assert len(contents_of(opened(tmp_path / "a.zip", packed({"x.npy": bytes(2**21)})))["x.npy"]) == 2**21, "an array"
    hidden = packed({"x": bytes(2**24)})
    less = patched(patched(hidden, SIZE, "<L", 1000), CRC, "<L", zlib.crc32(bytes(1000)))  # says the directory
    files = opened(tmp_path / "a.zip", less)
    with pytest.raises(ValueError, match="the entry differs from its checksum or size"):
        contents_of(files)


@pytest.mark.parametrize("shared", ["whole", "nested"])
def test_entries_that_overlap_are_refused(shared: str, tmp_path: Path) -> None:
    """The bombs of Fifield (2019): many entries of one body, or each body holds the headers of the next ones."""
    inner = LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(b"abc"), 3, 3, 1, 0) + b"yabc"
    content = bytearray(written([(b"x", inner), (b"y", b"abc")]))
    second = content.rindex(b"PK\1\2")
    at = 0 if shared == "whole" else LOCAL.size + 1
    struct.pack_into("<L", content, second + OFFSET, at)
    with pytest.raises(ValueError, match=r"a.zip: entries must not overlap, got '[xy]' inside another \(a zip bomb\)"):
        opened(tmp_path / "a.zip", bytes(content))


@pytest.mark.parametrize("say", [{SIZE: 199}, {SIZE: 201}, {STORED: 3}, {CRC: 0}, {METHOD: 0, SIZE: 12, STORED: 12}])
def test_an_entry_that_differs_from_the_directory_is_refused(say: dict[int, int], tmp_path: Path) -> None:
    content = packed(CONTENTS)
    for place, value in say.items():
        content = patched(content, place, "<H" if place == METHOD else "<L", value)
    files = opened(tmp_path / "a.zip", content)
    first, *rest = files.items.take(np.arange(3))
    with pytest.raises(ValueError, match="the entry differs from its checksum or size"):
        files.read(first)
    assert [files.read(item) for item in rest] == [CONTENTS["b.png"], b""]
    with pytest.raises(ValueError, match=r"a.zip: a/1.png: the entry differs from its checksum .*; download it again$"):
        files.on_disk(first, tmp_path)


def test_stored_entries_have_one_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'a/1.png' must have one size, got 200, 7; pack it again"):
        opened(tmp_path / "a.zip", patched(packed(CONTENTS, zipfile.ZIP_STORED), SIZE, "<L", 7))


@pytest.mark.parametrize(("place", "value"), [(STORED, 2**31), (OFFSET, 2**31)])
def test_entries_behind_the_directory_are_refused(place: int, value: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.zip: must be a whole zip file \('a/1.png' does not lie before its dir"):
        opened(tmp_path / "a.zip", patched(packed(CONTENTS), place, "<L", value))


def test_numbers_beyond_63_bits_are_refused(tmp_path: Path) -> None:
    extra = struct.pack("<2H3Q", 1, 24, 2**64 - 1, 2**64 - 1, 2**64 - 1)
    head = (0, 2**32 - 1, 2**32 - 1, 1, len(extra), 0, 0, 0, 0, 2**32 - 1)
    directory = CENTRAL.pack(b"PK\1\2", 45, 45, 0, 0, 0, 0, *head) + b"x" + extra
    content = directory + END.pack(b"PK\5\6", 0, 0, 1, 1, len(directory), 0, 0)
    with pytest.raises(ValueError, match="does not lie before its directory"):
        opened(tmp_path / "a.zip", content)


def test_no_entry_where_the_directory_says(tmp_path: Path) -> None:
    files = opened(tmp_path / "a.zip", patched(packed(CONTENTS), OFFSET, "<L", 1))
    with pytest.raises(ValueError, match=r"no entry where the directory places a/1\.png"):
        contents_of(files)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_directory_of_another_length_is_refused(count: int, tmp_path: Path) -> None:
    content = written([(b"x", b"abc"), (b"y", b"abc")], count=count)
    with pytest.raises(ValueError, match=r"must be a whole zip file \(its directory has another length\); download"):
        opened(tmp_path / "a.zip", content)


def test_names_are_unique(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.zip: names must be unique, got 'x' twice; pack it again$"):
        opened(tmp_path / "a.zip", written([(b"x", b"1"), (b"y", b"2"), (b"x", b"3")]))


@pytest.mark.parametrize("zip64", [False, True])
def test_a_zip_cut_anywhere_is_refused(zip64: bool, tmp_path: Path) -> None:
    whole = as_zip64(packed(CONTENTS)) if zip64 else packed(CONTENTS)
    for length in range(len(whole)):
        for cut in (whole[:length], whole[:length] + whole[length + 1 :]):
            with pytest.raises(
                ValueError, match=r"^[^\n]*a.zip: must be a whole zip file \([^\n]*\); download it again"
            ):
                opened(tmp_path / "a.zip", cut)


def test_a_changed_byte_is_seen_or_harmless(tmp_path: Path) -> None:
    """Whatever byte changes, no file has another content than it had, and nothing but ValueError comes out."""
    whole = as_zip64(packed(CONTENTS))
    seen = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x40, 0xFF):
            changed = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
            try:
                found = contents_of(opened(tmp_path / "a.zip", changed))
            except ValueError:
                seen += 1
            else:
                assert set(found.values()) <= set(CONTENTS.values())
    assert seen > len(whole)
