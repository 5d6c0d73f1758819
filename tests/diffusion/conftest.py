"""Gaussian data, for which everything is known, and one process of every kind."""

from dataclasses import dataclass

import pytest

from ddpm.diffusion.process import Prediction
from ddpm.diffusion.schedule import SCHEDULES, Scales, Schedule, at
from ddpm.diffusion.sde import sub_vp, ve, vp_linear

LINEAR = (1000, 1e-4, 0.02)


@dataclass(frozen=True)
class Gaussian:
    """Every pixel of the data is N(mean, std^2), independently."""

    mean: float = 0.4
    std: float = 0.3

    def denoiser(self, schedule: Schedule):
        """E[x0 | x_t], and the eps that agrees with it."""

        def denoise(x_t, t):
            a, b = at(schedule, t, x_t)
            gain = a * self.std**2 / (a**2 * self.std**2 + b**2)
            x0_hat = self.mean + gain * (x_t - a * self.mean)
            return Prediction(x0_hat, (x_t - a * x0_hat) / b)

        return denoise

    def marginal(self, scales: Scales) -> tuple[float, float]:
        """Mean and standard deviation of x_t."""
        return scales.signal * self.mean, (scales.signal**2 * self.std**2 + scales.noise**2) ** 0.5

    def flow(self, x, start: Scales, end: Scales):
        """Where the probability flow takes x: it keeps the number of standard deviations from the mean."""
        (old_mean, old_std), (new_mean, new_std) = self.marginal(start), self.marginal(end)
        return new_mean + new_std * (x - old_mean) / old_std


@pytest.fixture(scope="session")
def gaussian() -> Gaussian:
    return Gaussian()


@pytest.fixture(scope="session")
def processes() -> dict[str, Schedule]:
    return {
        "linear": SCHEDULES["linear"](*LINEAR),
        "cosine": SCHEDULES["cosine"](*LINEAR),
        "vp": vp_linear(*LINEAR),
        "sub-vp": sub_vp(vp_linear(*LINEAR)),
        "ve": ve(1000, sigma_min=0.01, sigma_max=10.0),
    }
