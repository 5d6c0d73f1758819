"""Samplers of the reverse stochastic differential equation (Song et al. 2021, "Score-based generative modeling")."""

import math
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import torch

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import posterior
from ddpm.diffusion.samplers.steps import Noise, Settings, State, full
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def euler_maruyama(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """Euler-Maruyama steps of dx = (f x - g^2 score) dt + g dw (Song et al. 2021, eq. 6); one evaluation a step.

    x_s = x_t - (f x_t - g^2 score) (t - s) + g sqrt(t - s) z, score = -eps_hat / noise_scale. The last step, to s = 0,
    is x0_hat without noise: at t = 0 there is no score. f and g^2 are taken at t; that needs many steps.

    Raises:
        ValueError: step T holds no signal, where f is infinite.
    """
    del settings  # nothing to choose
    x_t, scales = x_T, schedule.path(steps)
    if scales[0].signal == 0:
        raise ValueError("sample.sampler must not be euler-maruyama where x_T holds no signal; use ddpm or ddim")
    times = torch.tensor(steps[:-1], dtype=torch.float64, device=schedule.signal_scale.device)
    drift, diffusion = (values.tolist() for values in schedule.sde(times))
    for k, (t, s) in enumerate(pairwise(steps)):
        x0_hat, eps_hat, _ = denoise(x_t, full(x_t, t))
        x_s, dt = x0_hat, t - s
        if s > 0:
            x_s = (1 - drift[k] * dt) * x_t - diffusion[k] * dt / scales[k].noise * eps_hat
            x_s = x_s + math.sqrt(diffusion[k] * dt) * noise(k)
        yield State(s, x_s, x0_hat)
        x_t = x_s


def predictor_corrector(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """An ancestral step, then `settings.corrector_steps` of Langevin dynamics (Song et al. 2021, algorithms 2-5).

    The predictor is `ddpm` with fixed_small (their ancestral sampling, for any process). The corrector is `langevin` at
    the new time; at s = 0 there is none. With M corrector steps that is N + (N - 1) M evaluations.
    """
    x_t, scales, draws = x_T, schedule.path(steps), count()
    one_less = schedule.path([max(s - 1, 0) for s in steps])
    for k, (t, s) in enumerate(pairwise(steps)):
        x0_hat = denoise(x_t, full(x_t, t)).x0_hat
        q = posterior(scales[k], scales[k + 1])
        x_s = q.x0_weight * x0_hat + q.x_t_weight * x_t
        if s > 0:
            x_s = x_s + math.sqrt(q.var) * noise(next(draws))
            alpha = (scales[k + 1].signal / one_less[k + 1].signal) ** 2
            for _ in range(settings.corrector_steps):
                score = -denoise(x_s, full(x_s, s)).eps_hat / scales[k + 1].noise
                x_s = langevin(x_s, score, noise(next(draws)), alpha, settings.corrector_snr)
        yield State(s, x_s, x0_hat)
        x_t = x_s


def langevin(x: Images, score: Images, z: Images, alpha: float, snr: float) -> Images:
    """One step of Langevin dynamics whose size follows the signal-to-noise ratio (Song et al. 2021, algorithms 4-5).

    x + e score + sqrt(2 e) z, e = 2 alpha (snr |z| / |score|)^2; alpha = 1 - beta_s, which is 1 where the signal does
    not shrink. Deviation: the authors' code averages both norms over the batch; here each image has its own, so that
    it does not depend on the images beside it.
    """
    ratio = z.flatten(1).norm(dim=1) / score.flatten(1).norm(dim=1)
    size: Images = (2 * alpha * (snr * ratio).square()).reshape(-1, 1, 1, 1)
    return x + size * score + (2 * size).sqrt() * z
