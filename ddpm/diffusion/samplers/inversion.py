"""DDIM inversion: from an image to the noise that `ddim` would draw it from (Song et al. 2021, DDIM, sec. 4.3)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.samplers.steps import State, full, trailing
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images


def invert(denoise: Denoiser, schedule: Schedule, x0: Images, steps: Sequence[float]) -> Iterator[State]:
    """x_t = signal_scale_t x0_hat + noise_scale_t eps_hat, with the belief at s < t: one step of `ddim`, upward.

    First order in the step, as `ddim` with eta 0 over the same steps falling, which leads back. At t = 0 there is no
    noise to predict, so the image is taken for x at the smallest of the steps.

    Args:
        denoise: without guidance, thresholds or memory, else there is no way back.
        schedule: tables on the device of x0.
        x0: (batch, channels, height, width), in [-1, 1].
        steps: rising strictly from more than 0 to T at most.

    Raises:
        ValueError: the steps begin at 0, where no net was trained.
    """
    if steps[0] <= 0:
        raise ValueError(f"invert: steps must begin above 0, where there is noise to predict, got {steps[0]}; use 1")
    x_s, scales = x0, schedule.path(steps)
    for (s, t), (signal, noise_scale) in zip(pairwise(steps), scales[1:], strict=True):
        x0_hat, eps_hat, _ = denoise(x_s, full(x_s, s))
        x_s = signal * x0_hat + noise_scale * eps_hat
        yield State(t, x_s, x0_hat)


def rising(schedule: Schedule, num_steps: int) -> list[float]:
    """The steps of `invert`: those of `trailing`, rising, with 1 in place of 0 (or none, where 1 is a step itself)."""
    steps = trailing(schedule, num_steps)[-2::-1]
    return steps if steps[0] == 1 else [1, *steps]
