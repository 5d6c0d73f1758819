"""Noise schedules: x_t = signal_scale x0 + noise_scale eps, as float64 tables over t = 0..T and curves in between."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ddpm.diffusion.interpolation import interpolated
from ddpm.types import Images, Steps

MAX_BETA = 0.999
"""Schedules given by alpha_bar clip beta here; the last step stays invertible (Nichol & Dhariwal 2021, sec. 3.2)."""

Curve: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(t) -> (signal_scale, noise_scale), float64, for any t in 0..T."""


class Scales(NamedTuple):
    """What one time means for a sampler, as plain numbers."""

    signal: float
    noise: float


@dataclass(frozen=True)
class Schedule:
    """One forward process; both tables have length T+1 and are float64, index 0 is clean data.

    Attributes:
        signal_scale: what multiplies x0 in x_t; 1 at t = 0.
        noise_scale: what multiplies eps in x_t; 0 at t = 0.
        closed_form: the curve between the steps, if one is known; None interpolates the tables (variance preserving).
        continuous: whether a net of this process is trained on all t in [1, T], not on whole steps only.
    """

    signal_scale: Tensor
    noise_scale: Tensor
    closed_form: Curve | None = None
    continuous: bool = False

    @property
    def T(self) -> int:
        """Number of noising steps."""
        return len(self.signal_scale) - 1

    @property
    def alpha_bar(self) -> Tensor:
        """signal_scale^2; the alpha_bar of Ho et al. where the process preserves variance."""
        return self.signal_scale.square()

    @property
    def beta(self) -> Tensor:
        """1 - alpha_bar_t / alpha_bar_{t-1}; beta[0] = 0."""
        return torch.cat([self.alpha_bar.new_zeros(1), 1 - self.alpha_bar[1:] / self.alpha_bar[:-1]])

    @property
    def log_snr(self) -> Tensor:
        """log(signal_scale^2 / noise_scale^2) at the steps; infinite at t = 0."""
        return 2 * (self.signal_scale.log() - self.noise_scale.log())

    @cached_property
    def knots(self) -> Tensor:
        """log SNR of step 1 to the last one that holds any signal: what is interpolated; one look at the device."""
        log_snr = self.log_snr[1:]
        return log_snr[:-1] if torch.isinf(log_snr[-1]) else log_snr

    @property
    def prior_scale(self) -> float:
        """Standard deviation of x_T for data of variance 1: 1, or sigma_max where the variance explodes."""
        return max(1.0, float(self.noise_scale[-1]))

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(signal_scale, noise_scale) at times of any shape, float64: whole steps are looked up, others computed.

        Raises:
            IndexError: a whole step lies outside 0..T.
        """
        if not t.is_floating_point():
            return self.signal_scale[t], self.noise_scale[t]
        if self.closed_form is not None:
            return self.closed_form(t.double())
        return interpolated(self.knots, self.T, t.double())

    def path(self, steps: Sequence[float]) -> list[Scales]:
        """The scales at a sampler's steps, as plain numbers; one transfer from the device."""
        kind = torch.int64 if all(isinstance(t, int) for t in steps) else torch.float64
        signal, noise = self.scales(torch.tensor(steps, dtype=kind, device=self.signal_scale.device))
        return [Scales(*pair) for pair in zip(signal.tolist(), noise.tolist(), strict=True)]

    def log_snr_at(self, t: Tensor) -> Tensor:
        """log SNR as a continuous function of time, float64 (Kingma et al. 2021); exact for closed forms."""
        signal, noise = self.scales(t)
        return 2 * (signal.log() - noise.log())

    def time_at(self, log_snr: Tensor) -> Tensor:
        """The inverse of `log_snr_at` within [0, T], float64, by bisection; values outside give the nearer end."""
        low = torch.zeros_like(log_snr, dtype=torch.float64)
        high = torch.full_like(low, self.T)
        for _ in range(64):  # more halvings than float64 has bits
            middle = (low + high) / 2
            above = self.log_snr_at(middle) > log_snr  # still too clean
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return high

    def sde(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Drift f and squared diffusion g^2 of dx = f x dt + g dw, float64 (Song et al. 2021, Score-SDE, eq. 5).

        f = d log(signal_scale) / dt, g^2 = d noise_scale^2 / dt - 2 f noise_scale^2; t in (0, T], shaped (batch,).
        """
        with torch.inference_mode(False), torch.enable_grad():
            t = t.double().clone().requires_grad_()
            signal, noise = self.scales(t)
            (drift,) = torch.autograd.grad((signal.log() + 0 * t).sum(), t, retain_graph=True)  # VE: constant
            (growth,) = torch.autograd.grad(noise.square().sum(), t)
            return drift, growth - 2 * drift * noise.detach().square()

    def to(self, device: torch.device) -> "Schedule":
        """The same process on another device."""
        moved = self.signal_scale.to(device), self.noise_scale.to(device)
        return Schedule(*moved, self.closed_form, self.continuous)


def at(schedule: Schedule, t: Steps, like: Tensor) -> tuple[Images, Images]:
    """(signal_scale, noise_scale) of a batch, shaped (batch, 1, 1, 1) to multiply images with.

    In the precision of `like`, but float32 at least: square roots after a cast to bf16 would lose the first steps.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    signal, noise = schedule.scales(t)
    return signal.to(dtype).reshape(-1, 1, 1, 1), noise.to(dtype).reshape(-1, 1, 1, 1)


def from_beta(beta: Tensor) -> Schedule:
    """Tables from beta_1..beta_T (Ho et al. 2020, eq. 4)."""
    return from_table(torch.cumprod(1 - beta.double(), dim=0))


def from_table(alpha_bar: Tensor) -> Schedule:
    """Tables from alpha_bar_1..alpha_bar_T."""
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar])
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


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


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """Shift and stretch signal_scale so that x_T holds no signal at all (Lin et al. 2024, algorithm 1).

    Raises:
        ValueError: there is only one step, which would hold no signal.
    """
    if schedule.T == 1:
        raise ValueError("schedule.zero_terminal_snr needs T of at least 2, got 1; the only step would hold no signal")
    signal = schedule.signal_scale[1:]
    return from_table(((signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])).square())
