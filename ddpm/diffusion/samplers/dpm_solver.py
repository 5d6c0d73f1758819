"""DPM-Solver++(2M) and its stochastic form (Lu et al. 2022, "DPM-Solver++").

With x = signal_scale x0 + noise_scale eps and lambda = log(signal_scale / noise_scale), the exact flow over a step from
t to s is linear in x_t and in an average of x0_hat between the two. First order takes x0_hat at t for that average:
this is DDIM. Second order follows the line through the last two x0_hat to the middle of the step.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import posterior
from ddpm.diffusion.samplers.steps import Noise, Settings, State, full, half_log_snr
from ddpm.diffusion.schedule import Scales, Schedule
from ddpm.types import Images


def dpmpp_2m(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """The deterministic multistep solver of second order (Lu et al. 2022, algorithm 2); one evaluation a step.

    x_s = (noise_scale_s / noise_scale_t) x_t - signal_scale_s expm1(-h) D, D = x0_hat + (x0_hat - x0_before) / (2 r),
    h = lambda_s - lambda_t, r = h_before / h. The first step and the one to s = 0 are of first order.
    """
    del settings  # nothing to choose
    return _solve(denoise, schedule, x_T, steps, noise, eta=0.0)


def dpmpp_2m_sde(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022, on diffusion SDEs); `settings.eta` says how random it is.

    Eta is that of `ddim`: the standard deviation of a step's noise over the posterior's, sqrt(1 - exp(-2 h)) times
    noise_scale_s. 1 is the paper's solver of the full reverse SDE, 0 is `dpmpp-2m`; the paper has no values between.
    """
    return _solve(denoise, schedule, x_T, steps, noise, settings.eta)


def _solve(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, eta: float
) -> Iterator[State]:
    x_t, scales = x_T, schedule.path(steps)
    log_ratios, before = half_log_snr(scales), x_T
    for k, (t, s) in enumerate(pairwise(steps)):
        x0_hat = denoise(x_t, full(x_t, t)).x0_hat
        std = eta * math.sqrt(posterior(scales[k], scales[k + 1]).var)
        x_s = advance(x_t, extrapolate(x0_hat, before, log_ratios, k), scales[k], scales[k + 1], std)
        if std > 0:  # at s = 0 the posterior has no variance
            x_s = x_s + std * noise(k)
        yield State(s, x_s, x0_hat)
        x_t, before = x_s, x0_hat


def advance(x_t: Images, x0_hat: Images, t: Scales, s: Scales, std: float = 0.0) -> Images:
    """Where x_t goes if all of the step's x0_hat is this one; noise of `std` is then to be added (DDIM, eq. 12).

    x_s = w x_t + (signal_scale_s - w signal_scale_t) x0_hat, w = sqrt(noise_scale_s^2 - std^2) / noise_scale_t. With
    std 0 the weight of x0_hat is signal_scale_s (1 - exp(-h)); written like this it is finite where h is not.
    """
    weight = math.sqrt(max(s.noise**2 - std**2, 0.0)) / t.noise
    return weight * x_t + (s.signal - weight * t.signal) * x0_hat


def extrapolate(x0_hat: Images, before: Images, log_ratios: Sequence[float], k: int) -> Images:
    """The line through the x0_hat of steps k - 1 and k at the middle of the step that follows, in lambda.

    D = x0_hat + (x0_hat - before) h / (2 h_before); x0_hat itself where one of the three lambda is missing or infinite
    (the first step, the one after a start from no signal, the last).
    """
    if k == 0 or math.isinf(log_ratios[k - 1]) or math.isinf(log_ratios[k + 1]):
        return x0_hat
    ratio = (log_ratios[k + 1] - log_ratios[k]) / (log_ratios[k] - log_ratios[k - 1])
    return x0_hat + ratio / 2 * (x0_hat - before)
