"""What one sees of a training while it runs."""

import csv

import numpy as np
import pytest
from PIL import Image

LONG = ("-S", "train.steps=8", "-S", "train.preview_every=4", "-S", "train.preview_images=3")


def test_the_bar_tells_loss_memory_and_share_of_the_arithmetic(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    result = ddpm("train", *LONG)
    assert result.exit_code == 0, result.output
    bar = result.stderr.replace("\r", "\n").splitlines()
    last = [line for line in bar if line.startswith("train: 100%")][-1]
    for word in ("64/64", "images/s", "loss=", "mem=", "mfu="):
        assert word in last


def test_previews_grow_into_one_picture(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    assert ddpm("train", *LONG).exit_code == 0
    two = np.asarray(Image.open(project / "results/previews/evolution.png"))
    assert ddpm("train", *LONG, "-S", "train.preview_every=0", "--out", "one/ema.safetensors").exit_code == 0
    one = np.asarray(Image.open(project / "one/previews/evolution.png"))
    assert two.shape[0] > 1.5 * one.shape[0]  # rows for steps 4 and 8, and for step 8 alone
    assert two.shape[1] == one.shape[1]


def test_speed_is_in_mlflow_and_not_in_the_curve_file(project, ddpm, monkeypatch):
    pytest.importorskip("mlflow")
    import mlflow

    monkeypatch.setenv("DDPM_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    assert ddpm("prepare").exit_code == 0
    assert ddpm("train", *LONG).exit_code == 0
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    run, *_ = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    for column in ("loss", "valid_loss", "images_per_second", "memory_bytes", "mfu"):
        points = client.get_metric_history(run.info.run_id, f"train_curve/{column}")
        assert points, column
        assert all(point.value > 0 for point in points)
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert any("preview" in path for path in images)
    with (project / "results/train.csv").open(newline="") as file:
        assert not {"images_per_second", "mfu"} & set(next(csv.reader(file)))
