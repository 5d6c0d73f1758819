"""Tar files: what `tarfile` reads, in every variant of the format; what is hostile or damaged is refused by name."""

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm.data.files import Files, open_files
from ddpm.data.tars import BLOCK

CONTENTS = {"a/1.png": b"first" * 200, "b.png": bytes(512), "empty": b"", "last": b"last"}
COMPRESS = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}
LONG = "/".join(f"a long folder name {number} ü" for number in range(12)) + "/1.png"


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.size = kind, len(content)
    for field, value in fields.items():
        setattr(about, field, value)
    return about


def packed(contents: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in contents.items():
            archive.addfile(member(name, content), io.BytesIO(content))
    return file.getvalue()


def header(name: bytes, size: bytes, kind: bytes, magic: bytes = b"ustar\x0000", prefix: bytes = b"") -> bytes:
    """A header with a valid checksum, whatever its fields say."""
    fields = (name, b"0000644\0", b"0\0", b"0\0", size, b"0\0", b" " * 8, kind, b"", magic, b"", b"", b"", b"", prefix)
    block = struct.pack("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x", *fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


END = bytes(2 * BLOCK)
GOOD = header(b"good.png", b"00000000003\0", b"0") + padded(b"abc")


def opened(path: Path, content: bytes) -> Files:
    path.write_bytes(content)
    return open_files(path, path.parent / "scratch")


def contents_of(files: Files) -> dict[str, bytes]:
    return {item.name: files.read(item) for item in files.items.take(np.arange(len(files.items)))}


@settings(max_examples=80, deadline=None)
@given(
    contents=st.dictionaries(
        st.text(st.characters(exclude_characters="\\:/.\0", exclude_categories=["Cs"]), min_size=1, max_size=120),
        st.binary(max_size=3000),
        min_size=1,
        max_size=6,
    ),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    suffix=st.sampled_from(list(COMPRESS)),
)
def test_contents_are_those_of_tarfile(contents, form, suffix, tmp_path_factory) -> None:
    content = packed(contents, form)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        theirs = {about.name: archive.extractfile(about).read() for about in archive if about.name != "__MACOSX"}
    assert contents_of(opened(tmp_path_factory.mktemp("any") / f"a{suffix}", COMPRESS[suffix](content))) == theirs


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_every_format(form: int, tmp_path: Path) -> None:
    split = f"{'x' * 120}/{'y' * 90}.png"  # what ustar can hold
    contents = {split: b"1", "short": b"2"} | ({} if form == tarfile.USTAR_FORMAT else {LONG: b"3"})
    assert contents_of(opened(tmp_path / "a.tar", packed(contents, form))) == contents


def test_folders_and_comments_are_passed_over(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", pax_headers={"comment": "of git archive"}) as archive:
        archive.addfile(member("a", kind=tarfile.DIRTYPE))
        archive.addfile(member("a/1.png", b"x", mtime=1.5, uname="ü", pax_headers={"note": "y" * 99}), io.BytesIO(b"x"))
    assert contents_of(opened(tmp_path / "a.tar", file.getvalue())) == {"a/1.png": b"x"}


def test_old_and_unusual_headers_are_read(tmp_path: Path) -> None:
    old = header(b"a/", b"0", b"\0", magic=b"") + header(b"a/1.png", b"  3 \0", b"\0", magic=b"") + padded(b"abc")
    large = header(b"b", b"\x80" + (3).to_bytes(11, "big"), b"7") + padded(b"def")  # a size beyond octal digits
    sized = header(b"pax", b"14\0", b"x") + padded(b"9 size=3\n\0\0\0") + header(b"c", b"0", b"0") + padded(b"ghi")
    gnu = header(b"d", b"3", b"0", magic=b"ustar  \0", prefix=b"14000000000") + padded(b"jkl")  # a time, no prefix
    ustar = header(b"f", b"3", b"0", prefix=b"e") + padded(b"mno")
    found = contents_of(opened(tmp_path / "a.tar", GOOD + old + large + sized + gnu + ustar + END + b"not looked at"))
    wanted = {"good.png": b"abc", "a/1.png": b"abc", "b": b"def", "c": b"ghi", "d": b"jkl", "e/f": b"mno"}
    assert found == wanted
    assert contents_of(opened(tmp_path / "old", old + END)) == {"a/1.png": b"abc"}, "a tar by its checksum alone"


def test_names_are_made_plain(tmp_path: Path) -> None:
    content = packed({"./a//./1.png": b"x", "12:30.png": b"y"})
    assert contents_of(opened(tmp_path / "a.tar", content)) == {"a/1.png": b"x", "12:30.png": b"y"}
    latin = GOOD.replace(GOOD[:BLOCK], header(b"\xfc.png", b"3", b"0")) + END
    name = b"\xfc.png".decode(errors="surrogateescape")
    assert contents_of(opened(tmp_path / "a.tar", latin)) == {name: b"abc"}, "as os.listdir has it"


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "/etc/x", "a\\x", "C:x", f"../{LONG}", f"/{LONG}"])
def test_members_outside_are_refused(name: str, suffix: str, tmp_path: Path) -> None:
    content = COMPRESS[suffix](packed({"good.png": b"", name: b"x"}))
    with pytest.raises(
        ValueError, match=rf"a{suffix}: entries must lie inside the archive, got {re.escape(repr(name))}"
    ):
        opened(tmp_path / f"a{suffix}", content)
    assert not list(tmp_path.rglob("x*"))


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device or sparse file"),
        (tarfile.BLKTYPE, "device or sparse file"),
        (tarfile.FIFOTYPE, "device or sparse file"),
        (tarfile.GNUTYPE_SPARSE, "device or sparse file"),
        (b"V", "device or sparse file"),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, what: str, suffix: str, tmp_path: Path) -> None:
    content = COMPRESS[suffix](GOOD + header(b"x.png", b"0", kind) + END)
    with pytest.raises(
        ValueError, match=rf"a{suffix}: entries must be files, got the {what} 'x.png'; pack the file it"
    ):
        opened(tmp_path / f"a{suffix}", content)


def test_sparse_files_of_pax_are_refused(tmp_path: Path) -> None:
    about = b"22 GNU.sparse.major=1\n"
    content = header(b"pax", b"%o\0" % len(about), b"x") + padded(about) + GOOD + END
    with pytest.raises(ValueError, match=r"got the device or sparse file 'good.png'"):
        opened(tmp_path / "a.tar", content)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_bombs_are_refused_before_they_are_unpacked(suffix: str, tmp_path: Path) -> None:
    content = COMPRESS[suffix](packed({"good.png": b"x", "zeros": bytes(2**23)}))
    with pytest.raises(
        ValueError, match=rf"a{suffix}: entries must grow at most 200 times, got 'zeros' of \d+ bytes th"
    ):
        opened(tmp_path / f"a{suffix}", content)
    assert sum(path.stat().st_size for path in (tmp_path / "scratch").iterdir()) < 20_000
    with pytest.raises(ValueError, match=r"entries must grow at most 200 times, got '\d.png' of \d+ bytes that unpack"):
        opened(tmp_path / f"a{suffix}", COMPRESS[suffix](packed({f"{n}.png": bytes(2**19) for n in range(9)})))


def test_arrays_may_be_mostly_zeros(tmp_path: Path) -> None:
    contents = {"masks.npy": bytes(3 * 2**20), "list.txt": b"x"}
    assert contents_of(opened(tmp_path / "a.tar.gz", gzip.compress(packed(contents)))) == contents


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz"])
def test_bombs_behind_the_last_member_are_refused(suffix: str, tmp_path: Path) -> None:
    content = COMPRESS[suffix](GOOD + END + bytes(2**23))
    with pytest.raises(
        ValueError, match=rf"entries must grow at most 200 times, got 'a{suffix}' of \d+ bytes that unp"
    ):
        opened(tmp_path / f"a{suffix}", content)
    assert sum(path.stat().st_size for path in (tmp_path / "scratch").iterdir()) < 8_000_000


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_extended_headers_are_short(kind: bytes, suffix: str, tmp_path: Path) -> None:
    """`tarfile` reads them into memory, however long they are."""
    content = COMPRESS[suffix](header(b"about", b"77777777\0", kind) + bytes(2**24))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must be a whole tar file \(16777215 bytes about a member at byte 512\)"):
        opened(tmp_path / f"a{suffix}", content)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000  # a block of the digest has 4
    tracemalloc.stop()


def test_many_extended_headers_are_no_recursion(tmp_path: Path) -> None:
    about = header(b"pax", b"10\0", b"x") + padded(b"8 a=bcd\n")
    assert contents_of(opened(tmp_path / "a.tar", about * 5000 + GOOD + END)) == {"good.png": b"abc"}


@pytest.mark.parametrize(
    "about",
    [
        b"9 size=-3\n",
        b"9 size=1_0\n",
        b"99 size=3\n",
        b"0 size=3\n",
        b"size=3\n",
        b"7 size3\n",
        b"5\n",
        b"1" * 999,
        b"9999 size=%s\n" % (b"9" * 9989),
        b"\xff\xff\xff",
        b"-9 size=3\n",
    ],
)
def test_damaged_extended_headers_are_refused(about: bytes, tmp_path: Path) -> None:
    content = header(b"pax", b"%o\0" % len(about), b"x") + padded(about) + GOOD + END
    with pytest.raises(
        ValueError, match=r"must be a whole tar file \(a damaged extended header at byte 512\); downloa"
    ):
        opened(tmp_path / "a.tar", content)


def test_one_name_for_all_members_is_refused(tmp_path: Path) -> None:
    content = header(b"pax", b"12\0", b"g") + padded(b"10 path=x\n") + GOOD + END
    with pytest.raises(ValueError, match=r"one name or size for all members at byte 512"):
        opened(tmp_path / "a.tar", content)


@pytest.mark.parametrize("size", [b"-1\0", b"1_0\0", b"9\0", b"0x1\0", b"\xff" * 12])
def test_sizes_that_are_no_numbers_are_refused(size: bytes, tmp_path: Path) -> None:
    """A negative one made `tarfile` loop forever (CVE-2025-8194)."""
    with pytest.raises(ValueError, match=r"must be a whole tar file \(a damaged header at byte 1024\); download it"):
        opened(tmp_path / "a.tar", GOOD + header(b"x", size, b"0") + END)


@pytest.mark.parametrize("size", [b"\x80" + b"\xff" * 11, b"\x80" + (2**62 - 1).to_bytes(11, "big"), b"7777777777\0"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_sizes_beyond_the_file_are_refused(size: bytes, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a whole tar file \(|entries must grow at most 200 times, got 'x'"):
        opened(tmp_path / f"a{suffix}", COMPRESS[suffix](GOOD + header(b"x", size, b"0") + END))


def test_names_are_unique(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.tar: names must be unique, got 'good.png' twice; pack it again$"):
        opened(tmp_path / "a.tar", GOOD + GOOD + END)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_cut_before_its_end_is_refused(form: int, tmp_path: Path) -> None:
    """Even between two members, which `tarfile` takes for the end."""
    content = packed(CONTENTS | {LONG: b"x"}, form)
    last = len(content.rstrip(b"\0")) // BLOCK * BLOCK + BLOCK
    opened(tmp_path / "a.tar", content[: last + BLOCK])
    for length in [*range(BLOCK, last + BLOCK, 128), last + BLOCK - 1]:
        with pytest.raises(ValueError, match=r"must be a whole tar file \(it ends at byte \d+ without an end mark\)"):
            opened(tmp_path / "a.tar", content[:length])


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_compressed_tar_cut_anywhere_is_refused(suffix: str, tmp_path: Path) -> None:
    content = COMPRESS[suffix](packed(CONTENTS))
    for length in range(6, len(content), 3):
        with pytest.raises(
            ValueError, match=rf"a{suffix}: must be a whole tar file \([^\n]+\); download it again or p"
        ):
            opened(tmp_path / f"a{suffix}", content[:length])


def test_a_changed_header_is_refused(tmp_path: Path) -> None:
    """`tarfile` takes it for the end, and what follows is lost without a word."""
    content = packed(CONTENTS)
    second = 3 * BLOCK
    for place in range(second, second + BLOCK, 7):
        changed = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
        with pytest.raises(ValueError, match=r"must be a whole tar file \(a damaged header at byte 1536\); download"):
            opened(tmp_path / "a.tar", changed)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_changed_byte_of_a_compressed_tar_is_seen_or_harmless(suffix: str, tmp_path: Path) -> None:
    content = COMPRESS[suffix](packed(CONTENTS))
    seen = 0
    for place in range(len(content)):
        try:
            found = contents_of(opened(tmp_path / f"a{suffix}", content[:place] + b"\x5a" + content[place + 1 :]))
        except ValueError:
            seen += 1
        else:
            assert found == CONTENTS  # the time in the header of gzip, for one
    assert seen > 0.8 * len(content)


def test_a_file_that_has_become_shorter_is_noticed(tmp_path: Path) -> None:
    files = opened(tmp_path / "a.tar", GOOD + END)
    (tmp_path / "a.tar").write_bytes(GOOD[:514])
    with pytest.raises(ValueError, match="the member is cut short"):
        contents_of(files)
