"""Sampling and extraction on two processes of the CPU: the bytes of one, also when all are killed on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint, save_checkpoint
from ddpm.experiment.params_file import load
from ddpm.experiment.workspace import file_lock, work_path

ROOT = Path(__file__).parents[2]
TWO = ("--devices", "2", "--device", "cpu")


def start(project, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ddpm", *arguments]
    return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process, code=0):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    return errors


def family(pid):
    """A process and all that it started, also in sessions of their own."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


@pytest.fixture
def weights(project):
    """Make a checkpoint of random weights, which leave nothing near zero; returns its path."""

    def make(*overrides):
        params = load(project / "params.yaml", list(overrides))
        net, generator = build_net(params.data, params.model, params.objective), torch.Generator().manual_seed(0)
        values = {
            name: torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5
            for name, value in net.state_dict().items()
        }
        path = project / "data" / "weights" / "ema.safetensors"
        save_checkpoint(path, Checkpoint(params.data, params.schedule, params.model, params.objective, 1, values))
        return path

    return make


def test_two_processes_leave_the_bytes_of_one(project, ddpm, weights):
    weights()
    assert ddpm("prepare").exit_code == 0
    options = {
        "reference": ("-S", "reference.batch=64"),
        "sample": ("-S", "sample.batch=5"),
        "evaluate": ("-S", "evaluate.batch=5"),
    }
    for command, small in options.items():
        finish(start(project, command, *small, *TWO))
    files = [*project.glob("results/*.json"), *project.glob("data/reference/*"), *project.glob("data/samples/*")]
    two = {path: path.read_bytes() for path in files}
    for command, small in options.items():
        assert ddpm(command, *small).exit_code == 0
    assert {path.name for path in files} == {
        *("prepare.json", "reference.json", "sample.json", "metrics.json"),
        *("statistics.npz", "statistics_features.npy", "images.npy", "labels.npy", "manifest.json"),
    }
    assert {path: path.read_bytes() for path in files} == two
    left = [path for path in (project / "work").rglob("*") if path.suffix != ".lock" and path.is_file()]
    assert {path.parent.name for path in left} <= {"features", "timings"}  # for further metrics, and the report


def test_a_range_and_two_processes_and_small_batches_leave_the_same_bytes(project, ddpm, weights):
    weights()
    settings = (
        "sample",
        "-S",
        "sample.sampler=dpmpp-2m-sde",
        "-S",
        "sample.num_images=140",
        "-S",
        "evaluate.num_images=12",
    )
    finish(start(project, *settings, "-S", "sample.batch=1", "--range", "0:100", "--out", "first", *TWO))
    assert ddpm(*settings, "-S", "sample.batch=7", "--range", "100:140", "--out", "second").exit_code == 0
    assert ddpm("samples", "merge", "second", "first", "--out", "merged").exit_code == 0
    assert ddpm(*settings, "--out", "whole").exit_code == 0
    for name in ("images.npy", "labels.npy", "manifest.json"):
        assert (project / "merged" / name).read_bytes() == (project / "whole" / name).read_bytes()


def marks_of(project, process):
    """Which batches are finished, as soon as there is one."""
    for _ in range(1200):
        for path in (project / "work").rglob("evaluations.npy"):
            marks = np.load(path, allow_pickle=False) > 0
            if marks.any():
                return marks
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("no batch was finished within a minute")


def test_killed_in_the_middle_and_gone_on_with_by_one(project, ddpm, weights):
    weights()
    many = ("sample", "-S", "sample.num_images=1500", "-S", "sample.batch=2")
    cut = start(project, *many, "--out", "cut", *TWO)
    marks_of(project, cut)
    for member in family(cut.pid):  # the launcher first, or it would start others
        os.kill(member, signal.SIGKILL)
    cut.communicate()
    marks = marks_of(project, cut)
    assert not marks.all()
    assert not (project / "cut").exists()
    again = ddpm(*many, "--out", "cut")
    assert again.exit_code == 0
    assert ddpm(*many, "--out", "whole").exit_code == 0
    for name in ("images.npy", "labels.npy", "manifest.json", "sample.json"):
        assert (project / "cut" / name).read_bytes() == (project / "whole" / name).read_bytes()


def test_what_all_workers_refuse_is_said_once(project, weights):
    weights("objective.label_dropout=0.0", "sample.guidance_scale=1.0")
    errors = finish(start(project, "sample", *TWO), code=1)
    assert errors.splitlines() == [
        "Error: sample.guidance_scale must be 1 for a checkpoint trained without label dropout, got 2.0"
    ]


def test_what_only_the_first_worker_refuses_is_said_once(project, ddpm, weights, monkeypatch):
    """The other one waits for it meanwhile, and must neither hang nor count as a failure."""
    from ddpm.experiment.fingerprint import work_fingerprint

    path, params = weights(), load(project / "params.yaml", [])
    fingerprint = work_fingerprint("sample", params.model_dump(), [path], project, "cpu")
    with file_lock(work_path("sample", fingerprint, project).with_suffix(".lock")):
        errors = finish(start(project, "sample", *TWO), code=1)
    lines = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "the same `sample` is already running" in lines[0]
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["reference", "sample", "evaluate"])
@pytest.mark.parametrize("devices", ["0", "many", "-1", "1.5"])
def test_counts_that_are_none(project, ddpm, refused, command, devices):
    refused(ddpm(command, "--devices", devices), "--devices must be auto or a number", f"got {devices}")


@pytest.mark.parametrize("command", ["reference", "sample", "evaluate"])
def test_more_gpus_than_there_are(project, ddpm, refused, monkeypatch, command):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refused(ddpm(command, "--devices", "3"), "devices must be at most 2, the GPUs of this machine, got 3; or use auto")
    refused(ddpm(command, "--devices", "2", "--device", "cuda:1"), "--device cuda:1 is one device")
