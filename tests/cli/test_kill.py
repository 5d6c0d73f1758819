"""kill -9 of the real process in the middle of its work, and what the next start makes of it."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
LONG = ("-S", "train.steps=60", "-S", "train.checkpoint_every=5", "-S", "train.valid_every=20")
FILES = ("ema.safetensors", "train.csv", "train.json", "averages/best.safetensors", "previews/evolution.png")


def start(project, *arguments, file_bytes=resource.RLIM_INFINITY):
    """Run a command in a process of its own; `file_bytes` limits how large files may get, as a full disk does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ddpm", *arguments]
    return subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY)),
    )


def wait_for_a_state(project, process):
    for _ in range(600):
        if list((project / "work").rglob("step-*.pt")):
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("no state was written within a minute")


def wait_for_batches(project, process, finished):
    """Wait until more batches of samples are finished than that; returns how many."""
    for _ in range(6000):
        for path in (project / "work").rglob("evaluations.npy"):
            marks = np.count_nonzero(np.load(path, allow_pickle=False))
            if marks > finished:
                return marks
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError("no batch was finished within a minute")


def cut_short(project):
    cut = start(project, "train", *LONG, "--out", "cut/ema.safetensors")
    wait_for_a_state(project, cut)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.communicate()


def require_the_rest_to_come(project):
    again = start(project, "train", *LONG, "--out", "cut/ema.safetensors")
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert b"train: continuing after step " in errors
    require_same_files(project)


def require_same_files(project):
    for name in FILES:
        assert (project / "cut" / name).read_bytes() == (project / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_at_random_moments_change_no_byte(project, ddpm, kills):
    long = ("-S", f"train.steps={40 * kills}", "-S", "train.checkpoint_every=3", "-S", "train.valid_every=20")
    long = (*long, "-S", "model.dropout=0.1", "-S", "train.snapshot_every=20", "-S", "train.ema_widths=[0.1]")
    assert ddpm("prepare").exit_code == 0
    started = time.monotonic()
    whole = start(project, "train", *long, "--out", "whole/ema.safetensors")
    whole.communicate(timeout=240)
    assert whole.returncode == 0
    lasts, moments = time.monotonic() - started, random.Random(0)  # noqa: S311  (when to kill)
    for _ in range(kills):
        cut = start(project, "train", *long, "--out", "cut/ema.safetensors")
        time.sleep(moments.uniform(0.3, 0.9) * lasts)  # the start included, and sometimes the end
        os.killpg(cut.pid, signal.SIGKILL)
        cut.communicate()
    again = start(project, "train", *long, "--out", "cut/ema.safetensors")
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    require_same_files(project)
    names = sorted(path.name for path in (project / "whole" / "averages").iterdir())
    assert names == sorted(path.name for path in (project / "cut" / "averages").iterdir())
    for name in names:
        assert (project / "cut/averages" / name).read_bytes() == (project / "whole/averages" / name).read_bytes(), name


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_of_sampling_at_random_moments_change_no_byte(project, ddpm, kills):
    assert ddpm("prepare").exit_code == 0
    assert ddpm("train").exit_code == 0
    many = ("sample", "-S", f"sample.num_images={1000 * kills}", "-S", "sample.batch=1", "-S", "sample.sampler=ddpm")
    whole = start(project, *many, "--out", "whole")
    _, errors = whole.communicate(timeout=240)
    assert whole.returncode == 0, errors
    moments, finished = random.Random(0), 0  # noqa: S311  (when to kill)
    for _ in range(kills):
        cut = start(project, *many, "--out", "cut")
        finished = wait_for_batches(project, cut, finished)
        time.sleep(moments.uniform(0, 0.1))
        os.killpg(cut.pid, signal.SIGKILL)
        cut.communicate()
    assert not (project / "cut").exists()
    again = start(project, *many, "--out", "cut")
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    for name in ("images.npy", "labels.npy", "manifest.json", "sample.json"):
        assert (project / "cut" / name).read_bytes() == (project / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_writes_a_state_and_the_same_command_goes_on(project, ddpm, number, code):
    """States are written all the time here, so the signal comes while one is being written."""
    assert ddpm("prepare").exit_code == 0
    whole = start(project, "train", *LONG, "--out", "whole/ema.safetensors")
    whole.communicate(timeout=120)
    often = ("-S", "train.checkpoint_every=1")
    cut = start(project, "train", *LONG, *often, "--out", "cut/ema.safetensors")
    wait_for_a_state(project, cut)
    time.sleep(0.2)
    cut.send_signal(number)
    _, errors = cut.communicate(timeout=60)
    assert cut.returncode == code, errors
    stopped = re.search(
        r"train: stopped after step (\d+); the state is in .*, the same command goes on", errors.decode()
    )
    again = start(project, "train", *LONG, *often, "--out", "cut/ema.safetensors")
    _, errors = again.communicate(timeout=120)
    assert f"continuing after step {stopped[1]}," in errors.decode()
    require_same_files(project)


def test_a_full_disk_leaves_the_last_state_whole_and_costs_nothing_else(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    whole = start(project, "train", *LONG, "--out", "whole/ema.safetensors")
    whole.communicate(timeout=120)
    cut_short(project)
    states = {path.name: path.read_bytes() for path in (project / "work").rglob("step-*.pt")}
    full = start(project, "train", *LONG, "--out", "cut/ema.safetensors", file_bytes=1_000_000)
    _, errors = full.communicate(timeout=120)
    assert full.returncode == 1
    assert b"newest.pt: file too large; nothing finished was lost, run the command again" in errors
    assert b"Traceback" not in errors
    assert {path.name: path.read_bytes() for path in (project / "work").rglob("step-*.pt")} == states
    require_the_rest_to_come(project)


def test_a_second_signal_does_not_wait(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    process = start(project, "train", *LONG, "-S", "train.batch=1000", "-S", "train.checkpoint_every=1")
    wait_for_a_state(project, process)
    process.terminate()
    time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGTERM, 143)  # 143: the step ended in between


def test_a_killed_training_ends_with_the_bytes_of_one_that_was_not(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    whole = start(project, "train", *LONG, "--out", "whole/ema.safetensors")
    _, errors = whole.communicate(timeout=120)
    assert whole.returncode == 0, errors
    cut_short(project)
    assert not (project / "cut").exists()
    require_the_rest_to_come(project)


def test_two_trainings_at_once_are_refused(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    first = start(project, "train", *LONG, "-S", "train.steps=2000")
    try:
        wait_for_a_state(project, first)
        result = ddpm("train", *LONG, "-S", "train.steps=2000")
        assert result.exit_code == 1
        assert f"is already running (process {first.pid})" in result.stderr
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
