"""Digests that are taken beside other work."""

import hashlib
import threading
from pathlib import Path

import pytest

from ddpm.data.digests import beside, file_md5, followed, settled


def test_md5_is_that_of_hashlib(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content" * 1000)
    assert file_md5(path) == hashlib.md5(b"content" * 1000, usedforsecurity=False).hexdigest()


def test_work_is_done_beside_and_one_after_the_other(tmp_path: Path) -> None:
    go, running = threading.Event(), []

    def wait(path: Path) -> str:
        running.append(path.name)
        assert go.wait(10)
        assert len(running) == 1, "the others have not begun"
        running.clear()
        return path.name

    results = [beside(wait, tmp_path / name) for name in "ab"]
    assert not any(result.done() for result in results)
    go.set()
    assert [result.result(10) for result in results] == ["a", "b"]


def test_a_record_is_settled_with_the_records_in_it(tmp_path: Path) -> None:
    size = beside(lambda path: path.stat().st_size, tmp_path)
    record = {"name": "x", "inner": {"size": size, "is_large": followed(size, lambda found: found > 10**9)}}
    assert settled(record) == {"name": "x", "inner": {"size": tmp_path.stat().st_size, "is_large": False}}


def test_what_fails_beside_is_raised_where_it_is_asked_for(tmp_path: Path) -> None:
    gone = beside(file_md5, tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        settled({"md5": gone})
    with pytest.raises(FileNotFoundError):
        settled({"is_official": followed(gone, bool)})
