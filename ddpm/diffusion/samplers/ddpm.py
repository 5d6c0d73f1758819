"""Ancestral sampling of Ho et al. (2020), on any sub-sequence of steps."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import Posterior, Prediction, posterior
from ddpm.diffusion.samplers.steps import Noise, Settings, State, full
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def ddpm(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """x_s = mean of q(x_s | x_t, x0_hat) + std z (Ho et al. 2020, algorithm 2).

    Reads `settings.variance`: std^2 is q's step_var (fixed_large), its var (fixed_small), or between the two where the
    net says (learned; Nichol & Dhariwal 2021, eq. 15). The last step, to s = 0, has no noise.
    """
    x_t, scales = x_T, schedule.path(steps)
    for k, (t, s) in enumerate(pairwise(steps)):
        belief = denoise(x_t, full(x_t, t))
        q = posterior(scales[k], scales[k + 1])
        x_s = q.x0_weight * belief.x0_hat + q.x_t_weight * x_t
        if s > 0:
            x_s = x_s + std(q, belief, settings.variance) * noise(k)
        yield State(s, x_s, belief.x0_hat)
        x_t = x_s


def std(q: Posterior, belief: Prediction, variance: str) -> float | Images:
    """Standard deviation of a reverse step.

    Raises:
        ValueError: a learned variance is asked of a net that has none.
    """
    if variance == "learned":
        if belief.var_fraction is None:
            raise ValueError("sample.variance must be fixed_large or fixed_small for a net without learned variance")
        low, high = torch.tensor([q.var, q.step_var], dtype=torch.float64).log().tolist()
        log_var: Images = low + belief.var_fraction * (high - low)
        return (log_var / 2).exp()
    return math.sqrt(q.var if variance == "fixed_small" else q.step_var)
