"""The samplers of Karras et al. (2022, "Elucidating the design space"): Euler and Heun, with churn.

They integrate dz/dsigma = (z - x0_hat) / sigma, where z = x / signal_scale and sigma = noise_scale / signal_scale; the
right-hand side is eps_hat.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import torch

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.samplers.steps import Noise, Settings, State, full
from ddpm.diffusion.schedule import Scales, Schedule
from ddpm.types import Images


def euler(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """Euler's method, of first order (Karras et al. 2022, algorithm 2 without its correction); one evaluation a step.

    z_s = z_t + (sigma_s - sigma_t) eps_hat. Without churn this is `ddim` with eta 0.
    """
    return _integrate(denoise, schedule, x_T, steps, noise, settings, heun=False)


def heun(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """Heun's method, of second order (Karras et al. 2022, algorithm 2); two evaluations a step, 2 N - 1 in all.

    z_s = z_t + (sigma_s - sigma_t) (eps_hat + eps_hat') / 2, with eps_hat' at the end of the Euler step. The step to
    sigma = 0 is Euler's, as in the paper; so is one from no signal at all, where sigma is infinite.
    """
    return _integrate(denoise, schedule, x_T, steps, noise, settings, heun=True)


def _integrate(
    denoise: Denoiser,
    schedule: Schedule,
    x_T: Images,
    steps: Sequence[float],
    noise: Noise,
    settings: Settings,
    heun: bool,
) -> Iterator[State]:
    x_t, scales, draws = x_T, schedule.path(steps), count()
    starts, noisier = churned(schedule, steps, settings)
    for k, (t, s) in enumerate(pairwise(steps)):
        here, there = noisier[k], scales[k + 1]
        if starts[k] != t:
            added = math.sqrt(sigma(here) ** 2 - sigma(scales[k]) ** 2) * settings.churn_noise
            x_t = here.signal * (x_t / scales[k].signal + added * noise(next(draws)))
        x0_hat, eps_hat, _ = denoise(x_t, full(x_t, starts[k]))
        x_s = there.signal * x0_hat + there.noise * eps_hat  # Euler, because z_t = x0_hat + sigma_t eps_hat
        if heun and s > 0 and here.signal > 0:
            change = denoise(x_s, full(x_s, s)).eps_hat - eps_hat
            x_s = x_s + (there.noise - there.signal * sigma(here)) / 2 * change
        yield State(s, x_s, x0_hat)
        x_t = x_s


def churned(schedule: Schedule, steps: Sequence[float], settings: Settings) -> tuple[list[float], list[Scales]]:
    """Times and scales at which the steps start once noise has been added (Karras et al. 2022, algorithm 2).

    sigma_hat = (1 + min(churn / N, sqrt 2 - 1)) sigma inside `churn_interval`, but never above that of step T, beyond
    which no net was trained. All times are inverted at once, so that the steps themselves wait for no device.
    """
    scales, top = schedule.path(steps[:-1]), sigma(schedule.path([schedule.T])[0])
    gamma = min(settings.churn / len(scales), math.sqrt(2) - 1)
    low, high = settings.churn_interval
    wanted = [sigma(now) * (1 + gamma) if low <= sigma(now) <= high else sigma(now) for now in scales]
    raised = torch.tensor([min(value, top) for value in wanted], dtype=torch.float64)
    times = schedule.time_at(-2 * raised.log().to(schedule.signal_scale.device)).tolist()
    above = [float(new) > sigma(now) for new, now in zip(raised, scales, strict=True)]
    starts = [time if up else t for time, up, t in zip(times, above, steps, strict=False)]
    return starts, schedule.path(starts)


def sigma(scales: Scales) -> float:
    """noise_scale / signal_scale, infinite without signal."""
    return scales.noise / scales.signal if scales.signal else math.inf
