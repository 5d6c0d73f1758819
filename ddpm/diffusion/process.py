"""The forward process q and what follows from it: noising, the posterior, and conversions between predictions."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm.diffusion.schedule import Scales, Schedule, at
from ddpm.types import Images, Steps


class Prediction(NamedTuple):
    """One belief about an x_t in two forms, x_t = signal_scale x0_hat + noise_scale eps_hat.

    A net with learned variance adds where between its bounds log variance lies, 0 (posterior) to 1 (fixed large).
    """

    x0_hat: Images
    eps_hat: Images
    var_fraction: Images | None = None


def q_sample(schedule: Schedule, x0: Images, t: Steps, eps: Images) -> Images:
    """Noise clean images to step t (Ho et al. 2020, eq. 4).

    x_t = signal_scale x0 + noise_scale eps; sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t) where variance is preserved

    Args:
        schedule: tables on the device of t.
        x0: (batch, channels, height, width), in [-1, 1].
        t: (batch,), 0..T; 0 returns x0.
        eps: unit normal noise, shaped like x0; passed in, so that the caller owns the randomness.

    Raises:
        IndexError: a step lies outside 0..T.
    """
    a, b = at(schedule, t, x0)
    return a * x0 + b * eps


class Posterior(NamedTuple):
    """q(x_s | x_t, x0) = N(x0_weight x0 + x_t_weight x_t, var), scalars for one pair of steps.

    step_var is the variance of q(x_t | x_s): beta_t if s = t - 1, what Ho et al. call fixed large.
    """

    x0_weight: float
    x_t_weight: float
    var: float
    step_var: float


def posterior(t: Scales, s: Scales) -> Posterior:
    """Weights and variances of q(x_s | x_t, x0) for any s < t and any process (Ho et al. 2020, eqs. 6-7).

    Args:
        t: scales of the noisier step.
        s: scales of the step to go to; at s = 0 the posterior is x0 itself.
    """
    ratio = t.signal / s.signal
    step_var = t.noise**2 - ratio**2 * s.noise**2
    share = s.noise**2 / t.noise**2
    return Posterior(s.signal * step_var / t.noise**2, ratio * share, step_var * share, step_var)


class Target(NamedTuple):
    """What a net may be trained to predict: how to make it from (x0, eps), and how to read it back."""

    make: Callable[[Tensor, Tensor, Images, Images], Images]
    read: Callable[[Tensor, Tensor, Images, Images], tuple[Images, Images]]


def _read_eps(a: Tensor, b: Tensor, x_t: Images, eps_hat: Images) -> tuple[Images, Images]:
    return (x_t - b * eps_hat) / a, eps_hat


def _read_x0(a: Tensor, b: Tensor, x_t: Images, x0_hat: Images) -> tuple[Images, Images]:
    return x0_hat, (x_t - a * x0_hat) / b


def _read_v(a: Tensor, b: Tensor, x_t: Images, v_hat: Images) -> tuple[Images, Images]:
    return a * x_t - b * v_hat, b * x_t + a * v_hat


def _read_score(a: Tensor, b: Tensor, x_t: Images, score_hat: Images) -> tuple[Images, Images]:
    return (x_t + b.square() * score_hat) / a, -b * score_hat


# a and b are signal_scale and noise_scale of x_t brought to unit variance: a^2 + b^2 = 1
TARGETS: dict[str, Target] = {
    "eps": Target(lambda a, b, x0, eps: eps, _read_eps),  # noqa: ARG005  Ho et al. 2020
    "x0": Target(lambda a, b, x0, eps: x0, _read_x0),  # noqa: ARG005
    "v": Target(lambda a, b, x0, eps: a * eps - b * x0, _read_v),  # Salimans & Ho 2022, sec. 4
    "score": Target(lambda a, b, x0, eps: -eps / b, _read_score),  # noqa: ARG005  Song & Ermon 2019, eq. 5
}
"""objective.target -> its definition; x0 and score need t > 0, eps and score some signal left in x_t."""


def unit_scales(schedule: Schedule, t: Steps, like: Tensor) -> tuple[Images, Images, Images]:
    """(a, b, norm): the scales of x_t / norm, where norm = sqrt(signal_scale^2 + noise_scale^2).

    That is what nets see, so that all processes look alike to them: norm is 1 where variance is preserved.
    """
    signal, noise = schedule.scales(t)
    norm = (signal.square() + noise.square()).sqrt()
    dtype = torch.promote_types(like.dtype, torch.float32)
    a, b, norm = ((table.to(dtype)).reshape(-1, 1, 1, 1) for table in (signal / norm, noise / norm, norm))
    return a, b, norm


def make_target(schedule: Schedule, target: str, x0: Images, eps: Images, t: Steps) -> Images:
    """What the net should have said for x_t = q_sample(x0, t, eps)."""
    a, b, _ = unit_scales(schedule, t, x0)
    return TARGETS[target].make(a, b, x0, eps)


def read_prediction(schedule: Schedule, target: str, x_t: Images, output: Images, t: Steps) -> Prediction:
    """The (x0_hat, eps_hat) that a net's output stands for at step t."""
    a, b, norm = unit_scales(schedule, t, x_t)
    return Prediction(*TARGETS[target].read(a, b, x_t / norm, output))
