"""Noise schedules: tables over t = 0..T in float64, with alpha_bar[0] = 1."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm.types import Images, Steps

MAX_BETA = 0.999
"""Schedules given by alpha_bar clip beta here; the last step stays invertible (Nichol & Dhariwal 2021, sec. 3.2)."""


@dataclass(frozen=True)
class Schedule:
    """The tables of one forward process; every table has length T+1 and is float64.

    Attributes:
        beta: variance added by step t; beta[0] = 0.
        alpha_bar: product of (1 - beta) up to t; alpha_bar[0] = 1, strictly falling.
    """

    beta: Tensor
    alpha_bar: Tensor

    @property
    def T(self) -> int:
        """Number of noising steps."""
        return len(self.beta) - 1

    @property
    def signal_scale(self) -> Tensor:
        """sqrt(alpha_bar): what multiplies x0 in x_t."""
        return self.alpha_bar.sqrt()

    @property
    def noise_scale(self) -> Tensor:
        """sqrt(1 - alpha_bar): what multiplies eps in x_t."""
        return (1 - self.alpha_bar).sqrt()

    @property
    def log_snr(self) -> Tensor:
        """log(alpha_bar / (1 - alpha_bar)); infinite at t = 0."""
        return self.alpha_bar.log() - (1 - self.alpha_bar).log()

    def to(self, device: torch.device) -> "Schedule":
        """The same tables on another device."""
        return Schedule(self.beta.to(device), self.alpha_bar.to(device))


def at(table: Tensor, t: Steps) -> Images:
    """Entries of a table for a batch of steps, float32, shaped (batch, 1, 1, 1) to multiply images with.

    The table stays float64 until here: taking square roots after a cast would lose the first steps.
    """
    return table[t].float().reshape(-1, 1, 1, 1)


def from_beta(beta: Tensor) -> Schedule:
    """Tables from beta_1..beta_T (Ho et al. 2020, eq. 4)."""
    beta = torch.cat([torch.zeros(1, dtype=torch.float64), beta.double()])
    return Schedule(beta, torch.cumprod(1 - beta, dim=0))


def from_alpha_bar(alpha_bar: Callable[[float], float], T: int) -> Schedule:
    """Tables from a continuous alpha_bar(u), 0 <= u <= 1: beta_t = 1 - alpha_bar(t/T) / alpha_bar((t-1)/T), clipped."""
    curve = torch.tensor([alpha_bar(t / T) for t in range(T + 1)], dtype=torch.float64)
    return from_beta((1 - curve[1:] / curve[:-1]).clamp(max=MAX_BETA))


def linear(T: int, beta_1: float, beta_T: float) -> Schedule:
    """Beta grows linearly from beta_1 to beta_T (Ho et al. 2020, sec. 4)."""
    return from_beta(torch.linspace(beta_1, beta_T, T, dtype=torch.float64))


def quadratic(T: int, beta_1: float, beta_T: float) -> Schedule:
    """sqrt(beta) grows linearly from sqrt(beta_1) to sqrt(beta_T) (the `quad` of Song et al. 2021, DDIM)."""
    return from_beta(torch.linspace(math.sqrt(beta_1), math.sqrt(beta_T), T, dtype=torch.float64) ** 2)


def cosine(T: int, beta_1: float, beta_T: float) -> Schedule:  # noqa: ARG001  (one signature for all kinds)
    """alpha_bar = cos^2(((u + s) / (1 + s)) pi / 2), s = 0.008 (Nichol & Dhariwal 2021, eq. 17); no beta_1, beta_T."""
    s = 0.008
    return from_alpha_bar(lambda u: math.cos((u + s) / (1 + s) * math.pi / 2) ** 2, T)


def sigmoid(T: int, beta_1: float, beta_T: float) -> Schedule:  # noqa: ARG001
    """A sigmoid from -3 to 3, tau = 1, scaled to fall from 1 to 0 (Jabri et al. 2022, alg. 1); no beta_1, beta_T."""
    start, end, tau = -3.0, 3.0, 1.0

    def logistic(u: float) -> float:
        return 1 / (1 + math.exp(-u / tau))

    def alpha_bar(u: float) -> float:
        return (logistic(end) - logistic(u * (end - start) + start)) / (logistic(end) - logistic(start))

    return from_alpha_bar(alpha_bar, T)


SCHEDULES: dict[str, Callable[[int, float, float], Schedule]] = {
    "linear": linear,
    "quadratic": quadratic,
    "cosine": cosine,
    "sigmoid": sigmoid,
}
"""schedule.kind -> function of (T, beta_1, beta_T)."""
