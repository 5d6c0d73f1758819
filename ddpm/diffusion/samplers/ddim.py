"""Denoising diffusion implicit models (Song et al. 2021)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import posterior
from ddpm.diffusion.samplers.steps import Noise, Settings, State, full
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def ddim(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """x_s = signal_scale_s x0_hat + sqrt(noise_scale_s^2 - std^2) eps_hat + std z (Song et al. 2021, eq. 12).

    Reads `settings.eta`, which is std over the posterior's (their eq. 16): 0 is deterministic and asks for no noise,
    1 is ancestral sampling with fixed_small.
    """
    x_t, scales = x_T, schedule.path(steps)
    for k, (t, s) in enumerate(pairwise(steps)):
        x0_hat, eps_hat, _ = denoise(x_t, full(x_t, t))
        var = settings.eta**2 * posterior(scales[k], scales[k + 1]).var
        signal, noise_scale = scales[k + 1]
        x_s = signal * x0_hat + max(noise_scale**2 - var, 0.0) ** 0.5 * eps_hat
        if var > 0:  # at s = 0 the posterior has no variance
            x_s = x_s + var**0.5 * noise(k)
        yield State(s, x_s, x0_hat)
        x_t = x_s
