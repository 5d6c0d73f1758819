"""Files of a download: a folder and every kind of archive of it are the same, and what is unsafe is refused by name."""

import io
import os
import pickle
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm.data.digests import settled
from ddpm.data.files import Files, find_download, open_files
from ddpm.digest import file_sha256

CONTENTS = {
    "b.jpg": b"\xff\xd8 a photograph",
    "a/2.png": b"2",
    "a/10.png": b"10",
    "a-b.txt": b"sorts before the folder a as text, but after it in a walk",
    "a/deeper/and deeper/ü日本.JPG": np.random.default_rng(0).bytes(600_000),
    "zeros.bin": bytes(900_000),
    "empty": b"",
}
ORDER = ["a/10.png", "a/2.png", "a/deeper/and deeper/ü日本.JPG", "a-b.txt", "b.jpg", "empty", "zeros.bin"]
HIDDEN = {".DS_Store": b"x", "a/.cache/2.png": b"x", "__MACOSX/a/._2.png": b"x", "a/__MACOSX/b.jpg": b"x"}


def folder(path: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zipped(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def deflated(path: Path, contents: dict[str, bytes]) -> Path:
    return zipped(path, contents, zipfile.ZIP_DEFLATED)


def tarred(path: Path, contents: dict[str, bytes], form: int = tarfile.PAX_FORMAT, prefix: str = "") -> Path:
    kind = path.suffix[1:] if path.suffix != ".tar" else ""
    with tarfile.open(path, f"w:{kind}", format=form) as archive:
        for name, content in contents.items():
            about = tarfile.TarInfo(prefix + name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def gnu(path: Path, contents: dict[str, bytes]) -> Path:
    return tarred(path, contents, tarfile.GNU_FORMAT, "./")


FORMS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "a": folder,
    "a.zip": zipped,
    "deflated.zip": deflated,
    "a.tar": tarred,
    "gnu.tar": gnu,
    "a.tar.gz": tarred,
    "a.tar.bz2": tarred,
    "a.tar.xz": tarred,
}


def contents_of(files: Files) -> dict[str, bytes]:
    return {item.name: files.read(item) for item in files.items.take(np.arange(len(files.items)))}


@pytest.fixture(params=FORMS)
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return FORMS[request.param](tmp_path / request.param, CONTENTS | HIDDEN)


def test_every_form_has_the_same_names_bytes_and_order(packed: Path, tmp_path: Path) -> None:
    files = open_files(packed, tmp_path / "scratch" / "deep")
    assert list(files.items.names()) == ORDER, "hidden files are passed over, and the order is that of a walk"
    assert contents_of(files) == CONTENTS
    assert files.items.places[:, 0].tolist() == [len(CONTENTS[name]) for name in ORDER]
    assert files.path == packed


def test_records_and_stamps_tell_what_was_opened(packed: Path, tmp_path: Path) -> None:
    files = open_files(packed, tmp_path / "scratch")
    assert open_files(packed, tmp_path / "scratch").stamp == files.stamp
    if packed.is_dir():
        assert files.record == {}
        os.utime(packed / "b.jpg", (0, time.time() + 1))
        assert open_files(packed, tmp_path / "scratch").stamp != files.stamp
    else:
        assert settled(files.record) == {"archive": packed.name, "archive_sha256": file_sha256(packed)}
        os.utime(packed, (0, time.time() + 1))
        assert open_files(packed, tmp_path / "scratch").stamp != files.stamp


def test_what_lies_in_an_archive_has_its_time(tmp_path: Path) -> None:
    """A copy has the same stamp whenever it is made, so unfinished work goes on."""
    inner, outer = tmp_path / "inner.zip", tmp_path / "outer.tar"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.jpg", b"a")
    with tarfile.open(outer, "w") as archive:
        archive.add(inner, "inner.zip")
    os.utime(outer, ns=(0, 10**18 + 7))
    files = open_files(outer, tmp_path / "scratch")
    item = files.find("inner.zip")
    assert item is not None
    stamps = set()
    for scratch in (tmp_path / "one", tmp_path / "two"):
        copy = files.on_disk(item, scratch)
        assert copy.stat().st_mtime_ns == 10**18 + 7
        stamps.add(open_files(copy, scratch).stamp)
    assert len(stamps) == 1


def test_readers_travel_to_other_processes(packed: Path, tmp_path: Path) -> None:
    files = open_files(packed, tmp_path / "scratch")
    item = files.find("ü日本.JPG")
    assert item is not None
    assert files.read(item) == CONTENTS[item.name]  # now the archive is open
    sent = pickle.dumps((files.read, item))
    assert len(sent) < 500, "neither names nor places of the other files go with it"
    read, same = pickle.loads(sent)  # noqa: S301  (made here)
    assert read(same) == CONTENTS[item.name]


def test_open_archives_are_closed_with_their_reader(packed: Path, tmp_path: Path) -> None:
    files = open_files(packed, tmp_path / "scratch")
    contents_of(files)
    descriptor = getattr(files.read, "_descriptor", None)
    if descriptor is not None:
        assert os.fstat(descriptor).st_size > 600_000
        del files
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_files_are_found_by_name_and_put_on_disk(packed: Path, tmp_path: Path) -> None:
    files = open_files(packed, tmp_path / "scratch")
    assert files.find("absent.png") is None
    assert files.find("png") is None
    item = files.find("ü日本.JPG")
    assert item is not None
    path = files.on_disk(item, tmp_path / "other" / "scratch")
    assert path.read_bytes() == CONTENTS[item.name]
    assert path.suffix == ".JPG"
    assert files.numbers(lambda name: name.endswith(".png")).tolist() == [0, 1]
    assert files.numbers(lambda _: False).dtype == np.int64


def test_several_files_of_a_name_are_refused(tmp_path: Path) -> None:
    files = open_files(zipped(tmp_path / "a.zip", {"a/x.txt": b"", "b/x.txt": b""}), tmp_path)
    with pytest.raises(ValueError, match=r"a.zip: must hold one x.txt, got a/x.txt and b/x.txt; remove one$"):
        files.find("x.txt")


name_parts = st.text(
    st.characters(exclude_characters='/\\:\0"', exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda part: not part.startswith(".") and part != "__MACOSX" and len(part.encode()) < 200)
names = st.lists(name_parts, min_size=1, max_size=3).map("/".join)
trees = st.dictionaries(names, st.binary(max_size=2000), min_size=1, max_size=6).filter(
    lambda tree: not any(other.startswith(f"{name}/") for name in tree for other in tree)
)


@settings(max_examples=60, deadline=None)
@given(contents=trees)
def test_any_folder_equals_its_archives(contents: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("any")
    whole = open_files(folder(place / "a", contents), place)
    assert contents_of(whole) == contents
    for form in ("a.zip", "deflated.zip", "a.tar", "gnu.tar", "a.tar.gz"):
        files = open_files(FORMS[form](place / form, contents), place)
        assert list(files.items.names()) == list(whole.items.names())
        assert contents_of(files) == contents


def test_links_to_files_are_followed_and_other_links_refused(tmp_path: Path) -> None:
    folder(tmp_path / "real", {"x.png": b"x"})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "y.png").symlink_to(tmp_path / "real" / "x.png")
    (tmp_path / "top").symlink_to(tmp_path / "a")
    assert contents_of(open_files(tmp_path / "top", tmp_path)) == {"y.png": b"x"}
    (tmp_path / "a" / "more").symlink_to(tmp_path / "real")
    with pytest.raises(ValueError, match=r"a/more: folders inside must be real, got a link; give the folder it points"):
        open_files(tmp_path / "a", tmp_path)
    (tmp_path / "a" / "more").unlink()
    (tmp_path / "a" / "z.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"a/z.png: entries must be files or folders, got a broken link; "):
        open_files(tmp_path / "a", tmp_path)
    (tmp_path / "a" / "z.png").unlink()
    os.mkfifo(tmp_path / "a" / "pipe.png")
    with pytest.raises(ValueError, match=r"a/pipe.png: entries must be files or folders, got a device or socket; "):
        open_files(tmp_path / "a", tmp_path)


def test_folders_that_may_not_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)  # whoever tests as root may read all
    with pytest.raises(ValueError, match=r"folders must be readable, got Permission denied; give permission"):
        open_files(tmp_path, tmp_path)


@pytest.mark.parametrize("form", ["a.zip", "a.tar", "a.tar.gz"])
def test_archives_of_nothing_hold_nothing(form: str, tmp_path: Path) -> None:
    assert list(open_files(FORMS[form](tmp_path / form, HIDDEN), tmp_path).items.names()) == []
    empty = FORMS[form](tmp_path / f"empty.{form}", {})
    assert len(open_files(empty, tmp_path).items) == 0


def test_the_first_bytes_say_what_an_archive_is(tmp_path: Path) -> None:
    for form in ("a.zip", "a.tar", "a.tar.gz"):
        path = FORMS[form](tmp_path / form, CONTENTS).rename(tmp_path / "download")
        assert contents_of(open_files(path, tmp_path)) == CONTENTS
    inner = tarred(tmp_path / "inner.tar", {"x": b""}).read_bytes()
    assert contents_of(open_files(zipped(tmp_path / "b.zip", {"x": inner}), tmp_path)) == {"x": inner}


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent: the downloaded files must be here; get them as data/README.md"):
        open_files(tmp_path / "absent", tmp_path)
    (tmp_path / "page").write_text("<html>Quota exceeded</html>")
    with pytest.raises(ValueError, match=r"page: must be a folder, a zip or a tar, got a file of another kind; check"):
        open_files(tmp_path / "page", tmp_path)
    (tmp_path / "page").rename(tmp_path / "page.ZIP")
    with pytest.raises(ValueError, match=r"page.ZIP: must be a whole zip file \(no end of its directory\); download"):
        open_files(tmp_path / "page.ZIP", tmp_path)


@pytest.mark.parametrize("end", ["", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_downloads_are_found(end: str, tmp_path: Path) -> None:
    path = tmp_path / f"faces{end}"
    path.touch()
    assert find_download(tmp_path / "faces") == path, "beside"
    assert find_download(path) == path, "named"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".gitkeep").touch()
    inside = path.rename(tmp_path / "raw" / path.name)
    assert find_download(tmp_path / "raw") == (inside if end else tmp_path / "raw"), "the only archive in a folder"
    (tmp_path / "raw" / "more.zip").touch()
    assert find_download(tmp_path / "raw") == tmp_path / "raw", "not the only one"


def test_a_download_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"faces: the downloaded files must be here, as a folder or as an archive \(\."
    ):
        find_download(tmp_path / "faces")
