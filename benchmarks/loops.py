"""The loops that `benchmarks/train.py` compares: which there are, and how each is built."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import RECIPES, Mode
from benchmarks.peers import LAYOUTS, Loop, diffusers_loop, lucidrains_loop
from ddpm.data.store import Split
from ddpm.engine.device import memory_format
from ddpm.engine.distributed import alone
from ddpm.engine.step import Training, build_training
from ddpm.experiment.params import Params
from ddpm.experiment.params_file import load
from ddpm.nets.cost import count_macs, count_parameters
from ddpm.nets.unet import UNet

OURS, DIFFUSERS, LUCIDRAINS = "ddpm", "diffusers", "denoising-diffusion-pytorch"
NUM_IMAGES = 1024
"""Made-up images: what they show costs nothing, so no data set is needed."""


@dataclass(frozen=True)
class Candidate:
    """One loop with its options.

    Attributes:
        who: whose loop.
        precision: float32 or bf16.
        layout: contiguous or channels_last.
        keep_heap: whether glibc keeps freed memory during its steps, see `ddpm.engine.device.keep_heap`.
        compiled: whether torch.compile is around the net.
    """

    who: str
    precision: str
    layout: str
    keep_heap: bool = False
    compiled: bool = False

    @property
    def label(self) -> str:
        """All of it in words."""
        extras = [", heap kept"] * (self.keep_heap and self.who != OURS) + [", compiled"] * self.compiled
        return f"{self.who}, {self.precision}, {self.layout}{''.join(extras)}"

    def mode(self, deterministic: bool) -> Mode:
        """The settings of the process during its steps; `deterministic` is said by the parameters, for ours."""
        return Mode(deterministic if self.who == OURS else None, self.keep_heap)


def candidates(params: Params, device: torch.device) -> list[Candidate]:
    """All loops for a device; those with the same mode in a row.

    On a GPU the loop of diffusers is also compiled, as ours is where the recipe says so; glibc's heap does not matter.
    """
    gpu = device.type == "cuda"
    layout = next(name for name, value in LAYOUTS.items() if value == memory_format(device, params.model.channels))
    ours = [Candidate(OURS, each, layout, not gpu, gpu and params.train.compile) for each in ("bf16", "float32")]
    by_hand = [Candidate(DIFFUSERS, "bf16", each) for each in LAYOUTS]
    if gpu:
        extra = [Candidate(DIFFUSERS, "bf16", "channels_last", compiled=True)]
    else:
        extra = [
            Candidate(DIFFUSERS, "float32", "contiguous", keep_heap=True),
            Candidate(DIFFUSERS, "bf16", "channels_last", keep_heap=True),
        ]
    plain = [Candidate(DIFFUSERS, "float32", "contiguous"), *by_hand]
    lucidrains = [Candidate(LUCIDRAINS, "float32", "contiguous"), Candidate(LUCIDRAINS, "bf16", "channels_last")]
    return [*ours, *extra, *plain, *lucidrains]


def load_recipe(recipe: str, batch: int, overrides: Sequence[str], device: torch.device) -> Params:
    """A recipe for one device; without torch.compile on a CPU.

    Args:
        batch: images a step; 0: as the recipe says.

    Raises:
        ValueError: there is no such recipe, or what `ddpm.experiment.params_file.load` refuses.
    """
    path = RECIPES / f"{recipe}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise ValueError(f"--recipe {recipe}: must be one of {known}; or change one of them with -S")
    changes = ["train.devices=1", *([f"train.batch={batch}"] if batch else [])]
    if device.type == "cpu":
        changes += ["train.compile=false", "train.cuda_graphs=false"]
    return load(path, [*changes, *overrides])


def made_up(params: Params) -> Split:
    """Random images of the right shape, with labels if the net has classes."""
    generator = np.random.default_rng(0)
    shape = (max(NUM_IMAGES, params.train.batch), *params.data.shape)
    images: NDArray[np.uint8] = generator.integers(0, 256, shape, np.uint8)
    return Split(images, generator.integers(0, max(params.model.num_classes, 1), len(images)))


def our_training(params: Params, precision: str, split: Split, device: torch.device) -> Training:
    """What `ddpm.engine.train.train` builds before its first step."""
    train = params.train.model_copy(update={"precision": precision})
    return build_training(params.model_copy(update={"train": train}), split, alone(device))


def our_loop(params: Params, precision: str, split: Split, device: torch.device) -> Loop:
    """The step of `ddpm.engine.train.train`; rows and states at their cadence are timed by `benchmarks/parts.py`."""
    training, numbers = our_training(params, precision, split, device), count(1)
    net = cast(UNet, training.net)
    return Loop(lambda: training.step(next(numbers)), count_parameters(net), count_macs(net))


def build(candidate: Candidate, params: Params, split: Split, device: torch.device, folder: Path) -> Loop:
    """One loop, ready to step; `folder` is for its files."""
    chosen = params, candidate.precision
    if candidate.who == OURS:
        return our_loop(*chosen, split, device)
    if candidate.who == DIFFUSERS:
        return diffusers_loop(*chosen, candidate.layout, candidate.compiled, np.asarray(split.images), device)
    place = folder / candidate.precision
    return lucidrains_loop(*chosen, candidate.layout, np.asarray(split.images), device, place)


def same_bytes(params: Params, split: Split, device: torch.device, steps: int = 2) -> bool:
    """Whether two trainings from the start give the same weights and averages, byte for byte."""
    digests = set()
    for _ in range(2):
        training, digest = our_training(params, params.train.precision, split, device), hashlib.sha256()
        for step in range(1, steps + 1):
            training.step(step)
        for weight in [*training.net.parameters(), *(w for ws in training.averages.weights.values() for w in ws)]:
            digest.update(weight.detach().cpu().numpy().tobytes())
        digests.add(digest.hexdigest())
    return len(digests) == 1
