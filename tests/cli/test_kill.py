"""kill -9 of the real process in the middle of its work, and what the next start makes of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONG = ("-S", "train.steps=60", "-S", "train.checkpoint_every=5", "-S", "train.valid_every=20")


def start(project, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ddpm", *arguments]
    return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_a_state(project, process):
    for _ in range(600):
        if list((project / "work").rglob("step-*.pt")):
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("no state was written within a minute")


def test_a_killed_training_ends_with_the_bytes_of_one_that_was_not(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    whole = start(project, "train", *LONG, "--out", "whole/ema.safetensors")
    _, errors = whole.communicate(timeout=120)
    assert whole.returncode == 0, errors
    cut = start(project, "train", *LONG, "--out", "cut/ema.safetensors")
    wait_for_a_state(project, cut)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.communicate()
    assert not (project / "cut").exists()
    again = start(project, "train", *LONG, "--out", "cut/ema.safetensors")
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert b"train: continuing after step " in errors
    for name in ("ema.safetensors", "train.csv", "train.json"):
        assert (project / "cut" / name).read_bytes() == (project / "whole" / name).read_bytes()


def test_two_trainings_at_once_are_refused(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    first = start(project, "train", *LONG)
    try:
        wait_for_a_state(project, first)
        result = ddpm("train", *LONG)
        assert result.exit_code == 1
        assert f"is already running (process {first.pid})" in result.stderr
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
