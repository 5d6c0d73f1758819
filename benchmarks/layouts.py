"""Training steps in both memory formats, and the group norm of `ddpm.nets.norm` beside torch's, in both."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.loops import made_up
from benchmarks.machine import Mode
from benchmarks.peers import LAYOUTS
from benchmarks.rounds import Runner, Timing, rounds
from ddpm.data.store import Split
from ddpm.engine.device import DTYPES
from ddpm.engine.distributed import alone
from ddpm.engine.step import build_training
from ddpm.experiment.params import Params
from ddpm.nets.norm import GroupNorm

GROUPS = 32
SHAPES = ((16, 128, 32, 32), (16, 256, 16, 16), (64, 32, 16, 16))
"""Images, channels and pixels: two places of the CIFAR-10 net at batch 16, and one of the quick net."""


@dataclass(frozen=True)
class Norm:
    """One group norm: forward and backward together.

    Attributes:
        shape: (batch, channels, height, width).
        ours, native: times of `ddpm.nets.norm.GroupNorm` and of torch's.
    """

    shape: tuple[int, ...]
    precision: str
    layout: str
    ours: Timing
    native: Timing


def layout_times(params: Params, device: torch.device, number: int) -> dict[str, Timing]:
    """Time of one training step in each memory format, steps in turns."""
    split, mode = made_up(params), Mode(params.train.deterministic, device.type == "cpu")
    steps = {name: _step(params, split, device, layout) for name, layout in LAYOUTS.items()}
    return rounds({name: Runner(step, mode) for name, step in steps.items()}, number, 2, device)


def _step(params: Params, split: Split, device: torch.device, layout: torch.memory_format) -> Callable[[], None]:
    with patch("ddpm.engine.step.memory_format", lambda *_: layout):  # which has no parameter
        training, numbers = build_training(params, split, alone(device)), count(1)
    return lambda: training.step(next(numbers))


def norm_times(device: torch.device, number: int) -> list[Norm]:
    """Times of both norms in both memory formats and precisions."""
    found, mode = [], Mode(deterministic=True, keep_heap=device.type == "cpu")
    for shape in SHAPES:
        for precision in ("bf16", "float32"):
            for layout, memory_format in LAYOUTS.items():
                dtype = DTYPES.get(precision, torch.float32)
                x, dy = (torch.randn(shape, device=device).to(dtype, memory_format=memory_format) for _ in range(2))
                norm = GroupNorm(GROUPS, shape[1]).to(device)
                inputs = (x.requires_grad_(), norm.weight, norm.bias)

                def ours(norm: GroupNorm = norm, dy: Tensor = dy, inputs: tuple[Tensor, ...] = inputs) -> None:
                    torch.autograd.grad(norm(inputs[0]), inputs, dy)

                def native(norm: GroupNorm = norm, dy: Tensor = dy, inputs: tuple[Tensor, ...] = inputs) -> None:
                    x, weight, bias = inputs
                    torch.autograd.grad(F.group_norm(x, GROUPS, weight, bias, norm.eps), inputs, dy)

                runners = {"ours": Runner(ours, mode, 10), "native": Runner(native, mode, 10)}
                times = rounds(runners, number, 1, device)
                found.append(Norm(shape, precision, layout, **times))
    return found
