"""A tiny checkpoint with made-up weights, and everything else that a figure may ask for."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm.data.store import MANIFEST, images_file, labels_file, read_manifest
from ddpm.digest import file_sha256
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint, save_checkpoint
from ddpm.engine.reference import identity_of, write_reference
from ddpm.experiment.params import Params
from ddpm.experiment.params_file import load
from ddpm.figures.material import Material, Places
from ddpm.metrics.features import build_extractor

QUICK = Path(__file__).parents[2] / "pipeline" / "recipes" / "quick.yaml"
TINY = [
    "data.image_size=8",
    "schedule.T=20",
    "model.multipliers=[1, 1]",
    "sample.num_images=12",
    "sample.steps=5",
    "evaluate.num_images=12",
    "evaluate.kid_images=4",
    "evaluate.interval_groups=3",
    "evaluate.curve_points=0",
    "figures.grid_rows=2",
    "figures.grid_columns=4",
    "figures.strip_images=2",
    "figures.strip_columns=3",
]


@pytest.fixture
def tiny():
    """Parameters of the tiny experiment, with further overrides."""

    def make(*overrides: str) -> Params:
        return load(QUICK, [*TINY, *overrides])

    return make


@pytest.fixture
def material(tmp_path, tiny):
    """What figures are drawn from: a net with random weights and 20 random training images, by overrides."""

    def make(*overrides: str) -> Material:
        params = tiny(*overrides)
        places = Places(**{field.name: tmp_path / field.name for field in fields(Places)})
        save_checkpoint(places.checkpoint, made_up(params))
        write_data(places.data, params.data.shape)
        write_results(places)
        return Material(params.figures, params.sample, places, torch.device("cpu"))

    return make


def made_up(params: Params) -> Checkpoint:
    """A checkpoint whose net answers to its image, its time and its label: no weight of it is zero."""
    net, generator = build_net(params.data, params.model, params.objective), np.random.default_rng(0)
    weights = {
        name: torch.from_numpy(generator.normal(0, 0.1, tuple(tensor.shape)).astype(np.float32))
        for name, tensor in net.state_dict().items()
    }
    sections = {name: getattr(params, name) for name in ("data", "schedule", "model", "objective")}
    return Checkpoint(**sections, step=7, weights=weights)


def write_data(folder: Path, shape: tuple[int, int, int]) -> None:
    """20 training and 10 held-out images of noise, with labels 0..9."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(1)
    for split, count in (("train", 20), ("valid", 10)):
        np.save(folder / images_file(split), generator.integers(0, 256, (count, *shape), dtype=np.uint8))
        np.save(folder / labels_file(split), np.arange(count) % 10)
    write_manifest(folder, shape)


def write_manifest(folder: Path, shape: tuple[int, int, int]) -> None:
    """What `prepare` would say about these images."""
    height, width, channels = shape
    classes = [str(digit) for digit in range(10)]
    keys = ("labels_sha256", "files_digest", "pixels_digest", "skipped", "handled")
    splits = {
        split: {
            "selection": split,
            "images": count,
            "images_of_class": dict.fromkeys(classes, count // 10),
            "mean": [128.0] * channels,
            "std": [74.0] * channels,
            "sha256": file_sha256(folder / images_file(split)),
            **dict.fromkeys(keys, ""),
        }
        for split, count in (("train", 20), ("valid", 10))
    }
    of_all = {
        "source": "digits",
        "name": "noise",
        "crop": "none",
        "resample": "bicubic",
        "size": height if height == width else [height, width],
        "channels": channels,
        "store": "array",
        "labels": "digit",
        "classes": classes,
        "splits": splits,
    }
    (folder / MANIFEST).write_text(json.dumps({"raw": {}, "duplicates": {}, "versions": {}, **of_all}))


def write_results(places: Places) -> None:
    """12 samples, statistics of the training images in pixels, a training curve of three rows and one metric."""
    train = np.load(places.data / images_file("train"))
    near = np.clip(train[:12].astype(int) + np.arange(12).reshape(-1, 1, 1, 1), 0, 255).astype(np.uint8)
    with places.samples.open("wb") as file:
        np.save(file, near)
    extractor = build_extractor("pixels", weights=None, download=False, device=torch.device("cpu"))
    rows = extractor.extract(train)
    write_reference(places.statistics, rows, rows.shape[1], identity_of(read_manifest(places.data), "train", extractor))
    places.metrics.write_text(json.dumps({"frechet_pixels@12": {"value": 1.5}}))
    columns = "step,loss,grad_norm,learning_rate,valid_loss"
    places.curve.write_text("\n".join([columns, "1,0.9,1.5,0.001,", "2,0.5,1.2,0.001,0.6", "3,0.4,1.1,0.001,"]))
