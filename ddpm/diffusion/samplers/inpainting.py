"""Filling in what is masked, by a denoiser that was trained on whole images only."""

import math
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import torch

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import posterior
from ddpm.diffusion.samplers.steps import Noise, State, full
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def inpaint(
    denoise: Denoiser,
    schedule: Schedule,
    x_T: Images,
    steps: Sequence[float],
    noise: Noise,
    x0: Images,
    known: Images,
    passes: int = 1,
) -> Iterator[State]:
    """Ancestral steps that put the noised truth into the known region after each of them.

    x_s = known (signal_scale_s x0 + noise_scale_s z) + (1 - known) (a step of `ddpm`, fixed_small)

    With one pass that is the replacement of Song et al. (2021, Score-SDE, section 5 and app. I.2), which draws from
    the conditional distribution only roughly: the filled region is not asked whether it fits. More passes noise x_s
    back to t and step again (RePaint, Lugmayr et al. 2022, algorithm 1, with jumps of one step), so that both regions
    come to agree. The step to s = 0 is made once, as there. Their steps are visited, not all of 1..T.

    That is (N - 1) passes + 1 evaluations for N steps.

    Args:
        denoise: of whole images.
        schedule: tables on the device of the images.
        x_T: (batch, channels, height, width), at steps[0].
        steps: falling to 0.
        noise: the k-th unit normal draw.
        x0: like x_T, in [-1, 1]; read where it is known.
        known: bool, to be broadcast to x0.
        passes: at each step but the last, at least 1.
    """
    x_t, scales, draws = x_T, schedule.path(steps), count()
    for k, (t, s) in enumerate(pairwise(steps)):
        q, (signal, noise_scale) = posterior(scales[k], scales[k + 1]), scales[k + 1]
        for again in reversed(range(passes if s > 0 else 1)):
            x0_hat = denoise(x_t, full(x_t, t)).x0_hat
            x_s, truth = q.x0_weight * x0_hat + q.x_t_weight * x_t, signal * x0
            if s > 0:
                x_s = x_s + math.sqrt(q.var) * noise(next(draws))
                truth = truth + noise_scale * noise(next(draws))
            x_s = torch.where(known, truth, x_s)
            if again:
                x_t = scales[k].signal / signal * x_s + math.sqrt(q.step_var) * noise(next(draws))
        yield State(s, x_s, x0_hat)
        x_t = x_s
