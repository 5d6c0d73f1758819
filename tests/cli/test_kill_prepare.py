"""kill -9 of `prepare` in the middle: the next start goes on, no worker stays behind, and the bytes are the same."""

import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
NUM_IMAGES = 4_000
FILES = ("train.npy", "train_labels.npy", "valid.npy", "valid_labels.npy", "manifest.json")
SETTINGS = (
    *("source=folder", "name=x", "crop=short-side", "image_size=8", "channels=1", "labels=none", "on_error=skip"),
    *("train_split=all[0%:90%]", "valid_split=all[90%:]"),
)
OFTEN = """
from ddpm.__main__ import main
from ddpm.data import decode
from ddpm.engine import growing
if __name__ == "__main__":
    decode.CHUNK_IMAGES, growing.STATE_SECONDS = 32, 0.05
    main()
"""
"""Small chunks, and a state twenty times a second, so that there is one to kill it at."""
UNLABELED = ("model.num_classes=0", "objective.label_dropout=0", "sample.guidance_scale=1")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of images that take a millisecond each, and some damaged ones."""
    rng, contents = np.random.default_rng(0), []
    for _ in range(20):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(file, "JPEG")
        contents.append(file.getvalue())
    path = tmp_path_factory.mktemp("raw") / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(NUM_IMAGES):
            damaged = number % 1000 == 7
            archive.writestr(f"{number:05d}.jpg", contents[number % 20][: 100 if damaged else None])
    return path


def start(project: Path, raw: Path, out: str, store: str, workers: int) -> "subprocess.Popen[bytes]":
    settings = (*(f"data.{setting}" for setting in (*SETTINGS, f"store={store}")), *UNLABELED)
    words = [word for setting in settings for word in ("-S", setting)]
    command = [sys.executable, "-c", OFTEN, "prepare", *words, "--raw", str(raw), "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*command, "--out", out], cwd=project, env=environment, stderr=subprocess.PIPE)


def wait_for_a_newer_state(project: Path, process: "subprocess.Popen[bytes]", seen: str) -> str:
    for _ in range(1200):
        for path in (project / "work").rglob("*.json"):
            if f"{path} {path.stat().st_mtime_ns}" > seen:
                return f"{path} {path.stat().st_mtime_ns}"
        if process.poll() is not None:
            return seen
        time.sleep(0.02)
    raise AssertionError("no state was written within 24 seconds")


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


@pytest.mark.parametrize("store", ["array", "encoded"])
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_of_preparing_change_no_byte(project: Path, raw: Path, kills: int, store: str) -> None:
    _, errors = (whole := start(project, raw, "whole", store, 1)).communicate(timeout=240)
    assert whole.returncode == 0, errors
    seen = ""
    for _ in range(kills):
        cut = start(project, raw, "cut", store, 2)
        seen = wait_for_a_newer_state(project, cut, seen)
        workers = psutil.Process(cut.pid).children(recursive=True) if cut.poll() is None else []
        cut.kill()  # it alone: nobody tells its workers
        cut.communicate()
        assert gone(workers)
    assert not (project / "cut").exists()
    _, errors = (again := start(project, raw, "cut", store, 2)).communicate(timeout=240)
    assert again.returncode == 0, errors
    for name in FILES:
        assert (project / "cut" / name).read_bytes() == (project / "whole" / name).read_bytes(), name
    assert not list((project / "work" / "prepare").glob("*/"))
