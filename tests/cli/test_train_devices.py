"""Training on two processes of the CPU: the same numbers as on one, also when a process dies on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
SHORT = ("-S", "train.steps=8", "-S", "train.log_every=2", "-S", "train.valid_every=4", "-S", "model.dropout=0.1")
LONG = ("-S", "train.steps=40", "-S", "train.checkpoint_every=4", "-S", "train.valid_every=20")
FILES = ("ema.safetensors", "train.csv", "train.json", "averages/best.safetensors", "previews/evolution.png")


def start(project, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ddpm", "train", "--device", "cpu", *arguments]
    return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, start_new_session=True)


def finish(process, code=0):
    _, errors = process.communicate(timeout=240)
    assert process.returncode == code, errors.decode()
    return errors.decode()


def wait_for_a_state(project, process):
    for _ in range(1200):
        if list((project / "work").rglob("step-*.pt")):
            return
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.05)
    raise AssertionError("no state was written within a minute")


def workers_of(launcher):
    """Process numbers of the two workers, by rank."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    ranks = {}
    for child in map(int, children):
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks |= {int(v.removeprefix(b"RANK=")): child for v in variables if v.startswith(b"RANK=")}
    return ranks


@pytest.fixture
def prepared(project, ddpm):
    """A tiny project with prepared data."""
    assert ddpm("prepare").exit_code == 0
    return project


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_the_net_of_one(prepared, parallel):
    one = start(prepared, *SHORT, "--out", "one/ema.safetensors")
    two = start(
        prepared, *SHORT, "-S", "train.devices=2", "-S", f"train.parallel={parallel}", "--out", "two/ema.safetensors"
    )
    finish(one)
    finish(two)
    first, second = (load_file(prepared / name / "ema.safetensors") for name in ("one", "two"))
    for name, weights in first.items():
        torch.testing.assert_close(second[name], weights, rtol=1e-4, atol=1e-5)
    curves = [np.genfromtxt(prepared / name / "train.csv", delimiter=",", skip_header=1) for name in ("one", "two")]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)


def test_a_worker_that_dies_is_replaced_and_nothing_changes(prepared):
    whole = start(prepared, *LONG, "-S", "train.devices=2", "--out", "whole/ema.safetensors")
    finish(whole)
    for rank in (1, 0):
        cut = start(prepared, *LONG, "-S", "train.devices=2", "--out", f"cut{rank}/ema.safetensors")
        wait_for_a_state(prepared, cut)
        os.kill(workers_of(cut)[rank], signal.SIGKILL)
        assert "train: continuing after step " in finish(cut)
        for name in FILES:
            assert (prepared / f"cut{rank}" / name).read_bytes() == (prepared / "whole" / name).read_bytes()


def test_sigterm_to_the_launcher_reaches_the_workers_and_leaves_a_state(prepared):
    cut = start(
        prepared,
        *LONG,
        "-S",
        "train.checkpoint_every=0",
        "-S",
        "train.checkpoint_minutes=0.02",
        "-S",
        "train.devices=2",
    )
    wait_for_a_state(prepared, cut)
    workers = workers_of(cut)
    cut.terminate()
    errors = finish(cut, code=143)
    assert "train: stopped after step " in errors
    assert "the same command goes on from there" in errors
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers.values())


def test_what_is_refused_in_a_worker_is_said_once_and_not_tried_again(prepared):
    bad = ("-S", "train.learning_rate=1e30", "-S", "train.clip_norm=0", "-S", "train.devices=2")
    errors = finish(start(prepared, *SHORT, *bad), code=1)
    assert errors.count("Error: train: the loss is ") == 1
    assert "Traceback" not in errors
