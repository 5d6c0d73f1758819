"""Ancestral sampling of Ho et al. (2020), on any sub-sequence of steps."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import posterior
from ddpm.diffusion.samplers.steps import Noise, State, full
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def ddpm(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[int], noise: Noise, *, variance: str, eta: float
) -> Iterator[State]:
    """x_s = mean of q(x_s | x_t, x0_hat) + std z (Ho et al. 2020, algorithm 2).

    Args:
        denoise: the denoiser contract.
        schedule: its alpha_bar is read once.
        x_T: unit normal, (batch, channels, height, width).
        steps: falling from T to 0.
        noise: z for the step that leaves t; not asked for by the last step, which has none.
        variance: `fixed_large`, 1 - alpha_bar_t / alpha_bar_s (beta_t if s = t - 1), or `fixed_small`, the posterior's.
        eta: unused; one signature for all samplers.
    """
    del eta
    alpha_bar = schedule.alpha_bar.tolist()
    x_t = x_T
    for t, s in pairwise(steps):
        x0_hat, _ = denoise(x_t, full(x_t, t))
        q = posterior(alpha_bar[t], alpha_bar[s])
        x_s = q.x0_weight * x0_hat + q.x_t_weight * x_t
        if s > 0:
            var = q.var if variance == "fixed_small" else 1 - alpha_bar[t] / alpha_bar[s]
            x_s = x_s + var**0.5 * noise(t)
        yield State(s, x_s, x0_hat)
        x_t = x_s
