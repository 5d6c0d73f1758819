"""What a recipe costs, computed from its file: nothing is measured and nothing is run."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from ddpm.engine.build import build_net
from ddpm.experiment.params import Params, TrainParams
from ddpm.experiment.params_file import load
from ddpm.nets.cost import count_macs, count_parameters, estimate_train_bytes

RATE_TFLOPS = 100
"""The sustained rate at which GPU hours are quoted; divide by what your GPU sustains on this net."""
FLOP_PER_STEP = 6
"""Operations per multiply-accumulate of a training step: 2 each for forward, input gradients and weight gradients."""


@dataclass(frozen=True)
class Cost:
    """The size of an experiment."""

    parameters: int
    gmac_per_image: float
    train_bytes: int
    train_hours: float
    sample_hours: float


def cost(params: Params) -> Cost:
    """Parameters, arithmetic, memory and hours at `RATE_TFLOPS`, from a net on the meta device."""
    with torch.device("meta"):
        net = build_net(params.data, params.model, params.objective)
    macs = count_macs(net)
    passes = 1 if params.sample.guidance_scale in {0.0, 1.0} else 2
    hour = RATE_TFLOPS * 1e12 * 3600
    return Cost(
        parameters=count_parameters(net),
        gmac_per_image=macs / 1e9,
        train_bytes=estimate_train_bytes(net, params.train.batch, params.train.precision).total,
        train_hours=FLOP_PER_STEP * macs * images_seen(params.train) / hour,
        sample_hours=2 * macs * passes * params.sample.steps * params.sample.num_images / hour,
    )


def images_seen(train: TrainParams) -> float:
    """How many images the budget shows the net; not a number for one in epochs, whose size no recipe knows."""
    return math.nan if train.epochs else train.images or train.steps * train.batch


def budget(train: TrainParams) -> str:
    """The budget in its own unit."""
    count, unit = next((n, name) for name in ("steps", "images", "epochs") if (n := getattr(train, name)))
    return f"{count:,} {unit}"


def describe(path: Path) -> str:
    """Title lines of a recipe file and its cost, as shown by `python -m ddpm recipe --list`."""
    params = load(path)
    found = cost(params)
    title = [line.removeprefix("#").strip() for line in path.read_text().splitlines()[:2]]
    return "\n  ".join(
        [
            title[0],
            title[1],
            f"{found.parameters:,} parameters, {found.gmac_per_image:.3g} GMAC per image, "
            f"{found.train_bytes / 2**30:.1f} GiB to train at batch {params.train.batch}, {params.train.precision}",
            f"{budget(params.train)}: {found.train_hours:.3g} h; {params.sample.num_images:,} images with "
            f"{params.sample.steps} steps: {found.sample_hours:.3g} h (at {RATE_TFLOPS} TFLOP/s sustained)",
        ]
    )
