"""One file over HTTP from a server that breaks off, forgets Range, is busy, or sends something else."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ddpm.engine import transfer

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SIZE, NAME = len(CONTENT), "set.bin"


@dataclass
class Log:
    lines: list[str] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)


def get(folder: Path, *addresses: str) -> Log:
    """Fetch the file into a folder; it must be right."""
    log = Log()
    transfer.fetch(
        addresses, folder / NAME, MD5, transfer.Progress(log.lines.append, log.totals.append, log.ticks.append)
    )
    assert (folder / NAME).read_bytes() == CONTENT
    assert not (folder / f"{NAME}.part").exists()
    return log


def test_file_arrives_whole(site, tmp_path):
    log = get(tmp_path, site.serve("/a"))
    assert (log.totals, sum(log.ticks)) == ([SIZE], SIZE)
    assert site.asked("Range") == [None]


def test_broken_connection_is_continued(site, tmp_path, waits):
    log = get(tmp_path, site.serve("/a", breaks=2, headers={"ETag": '"v1"'}))
    assert site.asked("Range") == [None, f"bytes={SIZE // 2}-", f"bytes={SIZE * 3 // 4}-"]
    assert site.asked("If-Range") == [None, '"v1"', '"v1"']
    assert log.totals == [SIZE] * 3
    assert waits == [1, 2]
    assert any("broke off" in line for line in log.lines)


def test_silent_connection_is_continued(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.2)
    log = get(tmp_path, site.serve("/a", breaks=1, stalls=True, headers={"Last-Modified": "Mon, 01 Jan 2024"}))
    assert site.asked("If-Range") == [None, "Mon, 01 Jan 2024"]
    assert any("timed out" in line for line in log.lines)


def test_weak_validator_is_not_sent(site, tmp_path):
    get(tmp_path, site.serve("/a", breaks=1, headers={"ETag": 'W/"v1"'}))
    assert site.asked("If-Range") == [None, None]


def test_earlier_run_is_continued(site, tmp_path):
    address = site.serve("/a", breaks=9)
    with pytest.raises(ValueError, match=r"set\.bin: must come from a published address, got http.*broke off .* con"):
        get(tmp_path, address)
    came = (tmp_path / "set.bin.part").stat().st_size
    assert len(site.seen) == transfer.TRIES
    assert SIZE // 2 < came < SIZE
    log = get(tmp_path, site.serve("/a"))
    assert site.asked("Range")[-1] == f"bytes={came}-"
    assert log.ticks[0] == came
    assert sum(log.ticks) == SIZE


def test_server_without_range_starts_over(site, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(b"x" * (SIZE + 5))
    get(tmp_path, site.serve("/a", ranges=False))
    assert site.asked("Range") == [f"bytes={SIZE + 5}-"]


def test_server_that_continues_elsewhere_starts_over(site, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:100])
    log = get(tmp_path, site.serve("/a", shift=7))
    assert site.asked("Range") == ["bytes=100-", None]
    assert any(f"asked for byte 100 and later, got bytes 107-{SIZE - 1}/{SIZE}" in line for line in log.lines)


def test_part_of_another_file_starts_over(site, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(b"x" * 100)
    log = get(tmp_path, site.serve("/a"))
    assert site.asked("Range") == ["bytes=100-", None]
    assert any("starting over" in line for line in log.lines)


def test_whole_part_is_only_verified(site, tmp_path):
    """The last run was killed before it gave the file its name."""
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert not get(tmp_path, site.serve("/a")).ticks


@pytest.mark.parametrize(
    ("content", "got"), [(b"other", "795f3202b17cb6bc3d4b771d8c6c9eaf"), (b"\n <!doctype html>", "a web page")]
)
def test_wrong_file_is_deleted(site, tmp_path, content: bytes, got: str):
    with pytest.raises(ValueError, match=rf"md5 must be {MD5}, got {got}.* deleted; try again .* by hand"):
        get(tmp_path, site.serve("/a", content))
    assert not list(tmp_path.iterdir())
    assert len(site.seen) == 1


def test_next_mirror_is_tried(site, tmp_path, waits):
    addresses = f"{site.address}/none", site.serve("/wrong", b"other"), site.serve("/good")
    log = get(tmp_path, *addresses)
    assert not waits  # a 404 stays one
    assert any("/none: HTTP 404 Not Found" in line for line in log.lines)


def test_all_mirrors_are_named(site, tmp_path):
    with pytest.raises(ValueError, match=r"/none: HTTP 404 .*; http.*/nothing: HTTP 404 .*by hand \(data/README\.md\)"):
        get(tmp_path, f"{site.address}/none", f"{site.address}/nothing")


def test_busy_server_is_asked_again(site, tmp_path, waits):
    get(tmp_path, site.serve("/a", errors=[503, 429]))
    assert waits == [1, 2]


def test_silent_host_is_named(tmp_path, silent):
    with pytest.raises(ValueError, match=r"no answer \(.*refused"):
        get(tmp_path, f"{silent}/a")


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_only_http_is_opened(site, tmp_path, scheme: str):
    (tmp_path / "secret").write_bytes(CONTENT)
    elsewhere = f"{scheme}://{tmp_path}/secret"
    with pytest.raises(ValueError, match="must begin with http"):
        get(tmp_path, elsewhere)
    with pytest.raises(ValueError, match=r"HTTP 302|unknown url type"):
        get(tmp_path, site.serve("/a", status=302, headers={"Location": elsewhere}))


def test_redirection_is_followed(site, tmp_path):
    get(tmp_path, site.serve("/a", status=302, headers={"Location": site.serve("/b")}))


def test_full_disk_is_no_fault_of_the_server(site, tmp_path):
    (tmp_path / "set.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        get(tmp_path, site.serve("/a"))
