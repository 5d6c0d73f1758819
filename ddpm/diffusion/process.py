"""The forward process q and what follows from it: noising, the posterior, and conversions between predictions."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ddpm.diffusion.schedule import Schedule, at
from ddpm.types import Images, Steps


class Prediction(NamedTuple):
    """One belief about an x_t in two forms; x_t = signal_scale x0_hat + noise_scale eps_hat."""

    x0_hat: Images
    eps_hat: Images


def q_sample(schedule: Schedule, x0: Images, t: Steps, eps: Images) -> Images:
    """Noise clean images to step t (Ho et al. 2020, eq. 4).

    x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps

    Args:
        schedule: tables on the device of t.
        x0: (batch, channels, height, width), in [-1, 1].
        t: (batch,), 0..T; 0 returns x0.
        eps: unit normal noise, shaped like x0; passed in, so that the caller owns the randomness.

    Raises:
        IndexError: a step lies outside 0..T.
    """
    return at(schedule.signal_scale, t) * x0 + at(schedule.noise_scale, t) * eps


class Posterior(NamedTuple):
    """q(x_s | x_t, x0) = N(x0_weight x0 + x_t_weight x_t, var), scalars for one pair of steps."""

    x0_weight: float
    x_t_weight: float
    var: float


def posterior(alpha_bar_t: float, alpha_bar_s: float) -> Posterior:
    """Weights and variance of q(x_s | x_t, x0) for any s < t (Ho et al. 2020, eqs. 6-7).

    Their alpha_t becomes alpha_bar_t / alpha_bar_s.

    Args:
        alpha_bar_t: of the noisier step, below alpha_bar_s.
        alpha_bar_s: of the step to go to; 1 at s = 0, where the posterior is x0 itself.
    """
    alpha = alpha_bar_t / alpha_bar_s
    return Posterior(
        x0_weight=alpha_bar_s**0.5 * (1 - alpha) / (1 - alpha_bar_t),
        x_t_weight=alpha**0.5 * (1 - alpha_bar_s) / (1 - alpha_bar_t),
        var=(1 - alpha) * (1 - alpha_bar_s) / (1 - alpha_bar_t),
    )


class Target(NamedTuple):
    """What a net may be trained to predict: how to make it from (x0, eps), and how to read it back."""

    make: Callable[[Tensor, Tensor, Images, Images], Images]
    read: Callable[[Tensor, Tensor, Images, Images], Prediction]


def _read_eps(a: Tensor, b: Tensor, x_t: Images, eps_hat: Images) -> Prediction:
    return Prediction((x_t - b * eps_hat) / a, eps_hat)


def _read_x0(a: Tensor, b: Tensor, x_t: Images, x0_hat: Images) -> Prediction:
    return Prediction(x0_hat, (x_t - a * x0_hat) / b)


def _read_v(a: Tensor, b: Tensor, x_t: Images, v_hat: Images) -> Prediction:
    return Prediction(a * x_t - b * v_hat, b * x_t + a * v_hat)


# a is signal_scale, b is noise_scale, a^2 + b^2 = 1
TARGETS: dict[str, Target] = {
    "eps": Target(lambda a, b, x0, eps: eps, _read_eps),  # noqa: ARG005  Ho et al. 2020
    "x0": Target(lambda a, b, x0, eps: x0, _read_x0),  # noqa: ARG005
    "v": Target(lambda a, b, x0, eps: a * eps - b * x0, _read_v),  # Salimans & Ho 2022, sec. 4
}
"""objective.target -> its definition; `read` needs t >= 1 for x0, and alpha_bar > 0 for eps."""


def make_target(schedule: Schedule, target: str, x0: Images, eps: Images, t: Steps) -> Images:
    """What the net should have said for x_t = q_sample(x0, t, eps)."""
    return TARGETS[target].make(at(schedule.signal_scale, t), at(schedule.noise_scale, t), x0, eps)


def read_prediction(schedule: Schedule, target: str, x_t: Images, output: Images, t: Steps) -> Prediction:
    """The (x0_hat, eps_hat) that a net's output stands for at step t."""
    return TARGETS[target].read(at(schedule.signal_scale, t), at(schedule.noise_scale, t), x_t, output)
