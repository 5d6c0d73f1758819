"""Denoising diffusion implicit models (Song et al. 2021)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import posterior
from ddpm.diffusion.samplers.steps import Noise, State, full
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def ddim(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[int], noise: Noise, *, variance: str, eta: float
) -> Iterator[State]:
    """x_s = sqrt(alpha_bar_s) x0_hat + sqrt(1 - alpha_bar_s - std^2) eps_hat + std z (Song et al. 2021, eq. 12).

    Args:
        denoise: the denoiser contract.
        schedule: its alpha_bar is read once.
        x_T: unit normal, (batch, channels, height, width).
        steps: falling from T to 0.
        noise: z for the step that leaves t; asked for only when eta > 0 and s > 0.
        variance: unused; one signature for all samplers.
        eta: std over the posterior's (their eq. 16): 0 is deterministic, 1 is ancestral sampling with fixed_small.
    """
    del variance
    alpha_bar = schedule.alpha_bar.tolist()
    x_t = x_T
    for t, s in pairwise(steps):
        x0_hat, eps_hat = denoise(x_t, full(x_t, t))
        var = eta**2 * posterior(alpha_bar[t], alpha_bar[s]).var
        x_s = alpha_bar[s] ** 0.5 * x0_hat + max(1 - alpha_bar[s] - var, 0.0) ** 0.5 * eps_hat
        if var > 0:  # at s = 0 the posterior has no variance
            x_s = x_s + var**0.5 * noise(t)
        yield State(s, x_s, x0_hat)
        x_t = x_s
