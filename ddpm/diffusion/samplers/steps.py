"""What all samplers share: the state they yield, the noise they ask for, and the steps they visit."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch

from ddpm.types import Images, Steps

Noise: TypeAlias = Callable[[int], Images]
"""Unit normal noise for the step that leaves t; a function of t, so that a sampler owns no generator."""


class State(NamedTuple):
    """After one reverse step: the images at step s, and what the net believed on the way."""

    s: int
    x_s: Images
    x0_hat: Images


def uniform_steps(T: int, num_steps: int) -> list[int]:
    """num_steps + 1 falling steps T = t_0 > ... > 0, as evenly spaced as integers allow.

    Raises:
        ValueError: num_steps outside 1..T.
    """
    if not 1 <= num_steps <= T:
        raise ValueError(f"sample.steps must be in 1..{T} (schedule.T), got {num_steps}")
    return [round(T * (num_steps - i) / num_steps) for i in range(num_steps + 1)]


def full(x: Images, t: int) -> Steps:
    """One step number for every image of a batch."""
    return torch.full((len(x),), t, device=x.device)
