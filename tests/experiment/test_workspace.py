"""Files survive: atomic writes, full disks, locks."""

import errno
import json
import os
import subprocess
import sys

import pytest

from ddpm.experiment import workspace


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "result.json"
    workspace.write_json(path, {"a": 1})
    with pytest.raises(OSError, match="No space left") as caught, workspace.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["result.json"]


def test_a_link_to_a_cache_is_replaced_and_never_written_through(tmp_path):
    cached, path = tmp_path / "cache", tmp_path / "out"
    cached.write_text("cached")
    os.link(cached, path)
    workspace.write_bytes(path, b"new")
    assert cached.read_text() == "cached"
    assert path.read_text() == "new"


def test_json_is_sorted_and_refuses_nan(tmp_path):
    workspace.write_json(tmp_path / "a", {"b": 1, "a": 2})
    assert (tmp_path / "a").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="Out of range float"):
        workspace.write_json(tmp_path / "a", {"b": float("nan")})


def test_work_is_kept_on_failure_and_removed_on_success(tmp_path):
    with pytest.raises(RuntimeError), workspace.work_folder("train", "ab" * 32, tmp_path) as folder:
        (folder / "state").write_text("1")
        raise RuntimeError
    with workspace.work_folder("train", "ab" * 32, tmp_path) as again:
        assert (again / "state").read_text() == "1"
    assert not again.exists()


HOLD = """
import sys, time
from pathlib import Path
from ddpm.experiment.workspace import work_folder
with work_folder("train", "ab" * 32, Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_two_at_once_are_refused_and_a_killed_one_does_not_block(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "ready\n"
        with (
            pytest.raises(ValueError, match=f"already running .process {first.pid}."),
            workspace.work_folder("train", "ab" * 32, tmp_path),
        ):
            pass
    finally:
        first.kill()
        first.communicate()
    with workspace.work_folder("train", "ab" * 32, tmp_path) as folder:
        assert folder.is_dir()


def test_a_file_where_a_folder_must_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="results must go to a writable folder"):
        workspace.require_writable(tmp_path / "file" / "out.json")


def test_the_root_is_dvcs_main_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert workspace.project_root() == tmp_path
    monkeypatch.delenv("DVC_ROOT")
    monkeypatch.chdir(tmp_path)
    assert workspace.project_root() == tmp_path
