"""Peak memory of `ddpm prepare` over the number of images, of all its processes together."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import RECIPES
from benchmarks.photos import write_zip

EVERY_SECONDS = 0.05
CHANGES = (
    *("data.crop=short-side", "data.image_size=32", "data.train_split=all", "data.valid_split=none"),
    *("model.attention=[16]", "train.valid_every=0", "evaluate.floor=false", "evaluate.metrics=[frechet]"),
)
"""Of the recipe folder64: small images take little time."""


@dataclass(frozen=True)
class Peak:
    """What preparing took.

    Attributes:
        images: how many.
        main_bytes, all_bytes: peaks of the first process, and of all together; shared pages count by their share.
        seconds: of the whole command.
    """

    images: int
    main_bytes: int
    all_bytes: int
    seconds: float


def peak(count: int, workers: int, store: str, folder: Path) -> Peak:
    """Prepare a zip of so many images in a process of its own, and watch it.

    Raises:
        RuntimeError: the command failed.
    """
    raw = folder / f"{count}.zip"
    write_zip(count, raw)
    words = [word for change in (*CHANGES, f"data.store={store}") for word in ("-S", change)]
    command = [sys.executable, "-m", "ddpm", "prepare", "--params", str(RECIPES / "folder64.yaml"), *words]
    command += ["--raw", str(raw), "--out", str(folder / f"{count}-{store}"), "--workers", str(workers)]
    environment = os.environ | {"DDPM_TRACKING": "off", "DVC_ROOT": str(folder)}
    started = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        most_main, most = 0, 0
        while process.poll() is None:
            main, together = _held(process.pid)
            most_main, most = max(most_main, main), max(most, together)
            time.sleep(EVERY_SECONDS)
        if process.returncode and process.stderr is not None:
            raise RuntimeError(process.stderr.read().decode())
    return Peak(count, most_main, most, time.perf_counter() - started)


def _held(pid: int) -> tuple[int, int]:
    """Bytes that a process holds, and it and its children together, at this moment."""
    found = []
    try:
        main = psutil.Process(pid)
        for process in (main, *main.children(recursive=True)):
            found.append(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        pass
    return (found[0] if found else 0), sum(found)
