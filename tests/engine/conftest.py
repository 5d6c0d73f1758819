"""A tiny experiment on made-up images: every stage runs in well under a second."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm.data.store import Split
from ddpm.engine import train
from ddpm.engine.distributed import alone
from ddpm.engine.train import Trained
from ddpm.experiment.interruption import Interruption
from ddpm.experiment.params import Params
from ddpm.experiment.params_file import load

QUICK = Path(__file__).parents[2] / "pipeline" / "recipes" / "quick.yaml"
TINY = [
    "data.image_size=8",
    "schedule.T=20",
    "model.channels=32",
    "model.multipliers=[1, 1]",
    "model.blocks=1",
    "model.attention=[4]",
    "model.dropout=0.1",
    "train.steps=12",
    "train.batch=8",
    "train.warmup_steps=2",
    "train.flip=true",
    "train.log_every=3",
    "train.valid_every=6",
    "train.valid_images=10",
    "train.preview_every=6",
    "train.preview_images=2",
    "train.preview_steps=2",
    "train.checkpoint_every=4",
    "sample.num_images=12",
    "sample.batch=5",
    "sample.steps=5",
    "evaluate.num_images=12",
    "evaluate.interval_groups=3",
    "evaluate.curve_points=0",
    "evaluate.kid_images=4",
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
def splits() -> tuple[Split, Split]:
    """Bright and dark squares: 30 to train, 14 held out."""
    generator = np.random.default_rng(0)

    def make(count: int) -> Split:
        labels = np.arange(count) % 10
        images = (generator.random((count, 8, 8, 1)) * 60 + labels.reshape(-1, 1, 1, 1) * 20).astype(np.uint8)
        return Split(images, labels.astype(np.int64))

    return make(30), make(14)


class Killed(Exception):
    """Stands for kill -9 between two steps."""


@pytest.fixture
def killed() -> type[Killed]:
    """What `run` raises where it was told to."""
    return Killed


@pytest.fixture
def run():
    """Train on the CPU, or until a step."""

    def train_until(params: Params, splits: tuple[Split, Split], work: Path, kill_at: int | None = None) -> Trained:
        work.mkdir(exist_ok=True)

        def report(progress):
            if progress.step == kill_at:
                raise Killed

        return train.train(params, *splits, work, alone(torch.device("cpu")), report, Interruption(None, None))

    return train_until


@pytest.fixture
def same():
    """Whether two trainings ended with the same weights, bit for bit."""

    def compare(first: Trained, second: Trained) -> bool:
        weights, others = first.checkpoint.weights, second.checkpoint.weights
        return all(torch.equal(weights[name], others[name]) for name in weights)

    return compare
