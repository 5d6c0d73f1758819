"""UniPC (Zhao et al. 2023, "UniPC: a unified predictor-corrector framework")."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.samplers.dpm_solver import advance, extrapolate
from ddpm.diffusion.samplers.steps import Noise, Settings, State, full, half_log_snr
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def unipc(
    denoise: Denoiser, schedule: Schedule, x_T: Images, steps: Sequence[float], noise: Noise, settings: Settings
) -> Iterator[State]:
    """UniPC-2 in x0_hat with B(h) = expm1(-h), their B_2 (Zhao et al. 2023, data prediction); one evaluation a step.

    The predictor UniP-2 is the step of `dpmpp-2m`. The corrector UniC-2 then takes that step again, from where it
    began, with an average of x0_hat that also knows the new one; no evaluation is spent on the corrected x_s. A state
    holds the predicted x_s, which the next step corrects. The first step and the one to s = 0 are of first order; the
    chain is of third order, one more than its predictor, as they prove.
    """
    del noise, settings  # deterministic, nothing to choose
    x_t, scales = x_T, schedule.path(steps)
    log_ratios = half_log_snr(scales)
    start, before, older = x_T, x_T, x_T
    for k, (t, s) in enumerate(pairwise(steps)):
        x0_hat = denoise(x_t, full(x_t, t)).x0_hat
        if k > 0:
            x_t = advance(start, corrected(x0_hat, before, older, log_ratios, k), scales[k - 1], scales[k])
        x_s = advance(x_t, extrapolate(x0_hat, before, log_ratios, k), scales[k], scales[k + 1])
        yield State(s, x_s, x0_hat)
        start, x_t, before, older = x_t, x_s, x0_hat, before


def corrected(x0_hat: Images, before: Images, older: Images, log_ratios: Sequence[float], k: int) -> Images:
    """The average of x0_hat over the step k - 1 -> k that UniC takes, with B(h) = expm1(-h) (Zhao et al. 2023, UniC-2).

    D = before + c_1 (before - older) / r + c_2 (x0_hat - before), r = h_before / h. Without an older one c_1 = 0 and
    c_2 = 1/2; else c_1 + c_2 = b_1 and c_2 - r c_1 = b_2, the means of u and u^2 over the step (u from 0 to 1, weighed
    as the flow weighs x0_hat): D is right if x0_hat follows a parabola.
    """
    if k == 1:
        return before + 0.5 * (x0_hat - before)
    h = log_ratios[k] - log_ratios[k - 1]
    r = (log_ratios[k - 1] - log_ratios[k - 2]) / h  # infinite after a start from no signal: c_1 is 0 then
    b_1 = -1 / h - 1 / math.expm1(-h)
    b_2 = -2 * b_1 / h - 1 / math.expm1(-h)
    c_1 = (b_1 - b_2) / (1 + r)
    return before + c_1 / r * (before - older) + (b_1 - c_1) * (x0_hat - before)
