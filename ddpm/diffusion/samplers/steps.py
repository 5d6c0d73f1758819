"""What all samplers share: their settings, the state they yield, the noise they ask for, and the steps they visit."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.schedule import Scales, Schedule
from ddpm.types import Images, Steps

Noise: TypeAlias = Callable[[int], Images]
"""The k-th unit normal draw of a trajectory, k = 0, 1, ...: a function of k, so that a sampler owns no generator."""


class State(NamedTuple):
    """After one reverse step: the images at time s, and what the net believed on the way."""

    s: float
    x_s: Images
    x0_hat: Images


@dataclass(frozen=True)
class Settings:
    """What samplers can be told; each reads what it needs and leaves the rest.

    Attributes:
        variance: of `ddpm`: fixed_large (step_var), fixed_small (the posterior's) or learned (between them).
        eta: of `ddim` and `dpmpp-2m-sde`: 0 is deterministic, 1 as random as the reverse process.
        churn: of `euler` and `heun`: S_churn of Karras et al. (2022), algorithm 2; 0 is deterministic.
        churn_interval: S_tmin and S_tmax there, in units of noise_scale / signal_scale.
        churn_noise: S_noise there.
        corrector_steps: of `predictor-corrector`: Langevin steps after each predictor step.
        corrector_snr: of `predictor-corrector`: r of Song et al. (2021), algorithms 4-5.
        tolerance: of `ode`: relative and absolute error allowed in one step.
    """

    variance: str = "fixed_small"
    eta: float = 0.0
    churn: float = 0.0
    churn_interval: tuple[float, float] = (0.0, float("inf"))
    churn_noise: float = 1.0
    corrector_steps: int = 1
    corrector_snr: float = 0.16
    tolerance: float = 1e-5


Sampler: TypeAlias = Callable[[Denoiser, Schedule, Images, Sequence[float], Noise, Settings], Iterator[State]]
"""(denoise, schedule, x_T, steps, noise, settings) -> its states.

x_T has standard deviation schedule.prior_scale; steps fall strictly from steps[0] <= T to 0 and need not be whole.
"""


def uniform(schedule: Schedule, num_steps: int) -> list[float]:
    """1 + k floor(T / N), then 0: the `uniform` of the DDIM authors' code, `leading` in diffusers; starts below T."""
    stride = schedule.T // num_steps
    return [*(1 + stride * k for k in reversed(range(num_steps))), 0]


def quadratic(schedule: Schedule, num_steps: int) -> list[float]:
    """1 + (sqrt(0.8 T) k / (N - 1))^2, rounded down, then 0: dense near the data (Song et al. 2021, DDIM, app. D.2).

    Steps that round to the same number are moved up to the next free one.
    """
    width = (0.8 * schedule.T) ** 0.5
    steps: list[float] = [0]
    for k in range(num_steps):
        steps.append(max(steps[-1] + 1, 1 + int((width * k / max(num_steps - 1, 1)) ** 2)))
    return [*reversed(steps)]


def trailing(schedule: Schedule, num_steps: int) -> list[float]:
    """T (N - k) / N, rounded: as even as integers allow, from T itself (Lin et al. 2024, table 2)."""
    return [round(schedule.T * (num_steps - k) / num_steps) for k in range(num_steps + 1)]


def karras(schedule: Schedule, num_steps: int) -> list[float]:
    """From T to 1, even in (noise_scale / signal_scale)^(1/7), then 0 (Karras et al. 2022, eq. 5); not whole steps.

    Raises:
        ValueError: step T holds no signal.
    """
    rho = 7.0
    if schedule.path([schedule.T])[0].signal == 0:
        raise ValueError(
            "sample.spacing must not be karras where x_T holds no signal: its noise over signal is infinite"
        )
    (first, last) = ((scales.noise / scales.signal) ** (1 / rho) for scales in schedule.path([schedule.T, 1]))
    if num_steps == 1:
        return [schedule.T, 0]
    sigma = torch.linspace(first, last, num_steps, dtype=torch.float64) ** rho
    inner = schedule.time_at(-2 * sigma[1:-1].to(schedule.signal_scale.device).log()).tolist()
    return [schedule.T, *inner, 1, 0]


SPACINGS: dict[str, Callable[[Schedule, int], list[float]]] = {
    "uniform": uniform,
    "quadratic": quadratic,
    "trailing": trailing,
    "karras": karras,
}
"""sample.spacing -> function of (schedule, number of steps) that gives N + 1 falling times, the last one 0."""


def full(x: Images, t: float) -> Steps:
    """One time for every image of a batch: whole steps as int64, others as float64."""
    return torch.full((len(x),), t, device=x.device, dtype=torch.int64 if isinstance(t, int) else torch.float64)


def half_log_snr(scales: Sequence[Scales]) -> list[float]:
    """lambda = log(signal_scale / noise_scale) (Lu et al. 2022); infinite where there is no noise or no signal."""
    return [
        -math.inf if signal == 0 else math.inf if noise == 0 else math.log(signal / noise) for signal, noise in scales
    ]
