"""Google Drive: gdown itself against a server on this machine, and what becomes of all that it raises."""

import hashlib
import sys
from pathlib import Path

import gdown
import pytest
import requests

from ddpm.engine import download as module
from ddpm.engine import drive
from ddpm.engine.download import RawFile, download
from ddpm.engine.transfer import TRIES

CONTENT = bytes(range(256)) * 16_000  # several of gdown's blocks: it drops one that is not whole
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
ATTACHED = {"Content-Type": "application/zip", "Content-Disposition": 'attachment; filename="z"'}
PAGE = {"Content-Type": "text/html; charset=utf-8"}
TOO_MANY = (
    '<html><p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try '
    "accessing the file again later.</p></html>"
)
QUOTA = (
    r"^img\.zip: Google Drive refuses for now: its daily quota for this file is used up \(it says: {said}\); "
    r"nothing is lost: try again in some hours with the same command, or download it in a browser from "
    r"https://mmlab\S+/CelebA\.html \(see data/README\.md\) and put it into \S+/celeba$"
)


@pytest.fixture(autouse=True)
def one_file(monkeypatch) -> None:
    """A data set of one file on Drive."""
    monkeypatch.setitem(module.SETS, "celeba", lambda: [RawFile("img.zip", MD5, drive="ID")])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "celeba"
    folder.mkdir()
    return folder


@pytest.fixture
def google(site, monkeypatch):
    """The server, in the place of Google's."""
    get = requests.Session.get

    def rerouted(session: requests.Session, url: str, **how: object) -> requests.Response:
        return get(session, url.replace("https://drive.google.com", site.address), **how)

    monkeypatch.setattr(requests.Session, "get", rerouted)
    return site


def fake(monkeypatch, *, error: Exception | None = None, content: bytes = CONTENT) -> list[dict]:
    """Put another download into gdown; it fails, or delivers `content`. Its arguments."""
    calls = []

    def stand_in(**arguments):
        calls.append(arguments)
        if error is not None:
            raise error
        Path(arguments["output"]).write_bytes(content)

    monkeypatch.setattr(gdown, "download", stand_in)
    return calls


def test_file_arrives_whole(google, folder):
    google.serve("/uc?id=ID", CONTENT, headers=ATTACHED)
    totals, ticks = [], []
    assert download("celeba", "celeba", folder, total=totals.append, tick=ticks.append) == [folder / "img.zip"]
    assert (folder / "img.zip").read_bytes() == CONTENT
    assert [path.name for path in folder.glob("img*")] == ["img.zip"]
    assert (totals, sum(ticks)) == ([len(CONTENT)], len(CONTENT))


def test_broken_download_is_continued_by_the_next_call(google, folder):
    google.serve("/uc?id=ID", CONTENT, breaks=TRIES + 1, headers=ATTACHED)
    with pytest.raises(ValueError, match=r"did not deliver it \(.*; nothing is lost: try again .* or download it in a"):
        download("celeba", "celeba", folder)
    came = sum(path.stat().st_size for path in folder.glob("img.zip.part*.part"))
    assert len(CONTENT) // 2 < came < len(CONTENT)
    google.serve("/uc?id=ID", CONTENT, headers=ATTACHED)
    download("celeba", "celeba", folder)
    assert google.asked("Range")[-1] == f"bytes={came}-"
    assert (folder / "img.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (TOO_MANY, "Too many users have viewed or downloaded this file recently"),
        ("<title>Google Drive - Quota exceeded</title>", "Cannot retrieve the public link of the file"),
    ],
)
def test_page_of_refusal_is_the_quota(google, folder, page: str, said: str):
    google.serve("/uc?id=ID", page.encode(), headers=PAGE)
    with pytest.raises(ValueError, match=QUOTA.format(said=said)):
        download("celeba", "celeba", folder)
    assert not list(folder.glob("img*"))


def test_page_in_place_of_the_file_is_the_quota(google, folder):
    google.serve("/uc?id=ID", b"<!DOCTYPE html><title>Google Drive - Quota exceeded", headers=ATTACHED)
    with pytest.raises(ValueError, match=QUOTA.format(said="a web page, instead of the file")):
        download("celeba", "celeba", folder)
    assert not list(folder.glob("img*"))


def test_page_without_a_reason_is_the_quota(google, folder):
    google.serve("/uc?id=ID", errors=[429])
    with pytest.raises(ValueError, match=QUOTA.format(said="Cannot retrieve the public link of the file")):
        download("celeba", "celeba", folder)


def test_other_file_is_deleted(google, folder):
    google.serve("/uc?id=ID", b"other", headers=ATTACHED)
    with pytest.raises(ValueError, match=rf"img\.zip: md5 must be {MD5}, got 795f\w+; what came is deleted; try again"):
        download("celeba", "celeba", folder)
    assert not list(folder.glob("img*"))


def test_gdown_is_called_as_documented(monkeypatch, folder):
    calls = fake(monkeypatch)
    download("celeba", "celeba", folder)
    assert calls[0]["id"] == "ID"
    assert calls[0]["resume"]
    assert calls[0]["quiet"]
    assert (folder / "img.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "error",
    [
        gdown.DownloadError("Server did not honor the requested byte range"),
        gdown.FileURLRetrievalError("Failed to retrieve file url:\n\n\tno such file"),
        requests.ConnectionError("Name or service not known"),
    ],
)
def test_other_failures_are_told(monkeypatch, folder, error: Exception):
    fake(monkeypatch, error=error)
    said = str(error).split("\t")[-1]
    with pytest.raises(ValueError, match=rf"did not deliver it \({said}\); .*delete img\.zip\.part\* to start over"):
        download("celeba", "celeba", folder)


def test_full_disk_is_no_fault_of_drive(monkeypatch, folder):
    fake(monkeypatch, error=OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        download("celeba", "celeba", folder)


def test_missing_package_is_named(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ValueError, match=r"img\.zip: Google Drive needs the Python package gdown, .* browser"):
        download("celeba", "celeba", folder)


def test_meter_counts_what_was_added():
    totals, ticks = [], []
    meter = drive.Meter(drive.Progress(print, totals.append, ticks.append))
    for so_far in (300, 500, 1000):
        meter(so_far, 1000)
    assert (totals, ticks) == ([1000], [300, 200, 500])
