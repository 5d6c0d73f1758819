"""The variational bound: how many bits per dimension a net needs for an image, step by step."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm.diffusion.process import Prediction
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images, Steps

HALF_LEVEL = 1 / 255
"""Half the distance of two neighbors among the 256 levels of [-1, 1]."""


class Bounds(NamedTuple):
    """What the bound needs to know of whole steps t, each float64 and shaped (batch, 1, 1, 1).

    Attributes:
        x0_weight: of x0 in the mean of q(x_{t-1} | x_t, x0).
        log_var: lower end of log variance: the posterior's; at t = 1, where that is 0, the posterior's at t = 2.
        log_span: upper end minus lower end; the upper end is the variance of q(x_t | x_{t-1}), beta_t.
    """

    x0_weight: Tensor
    log_var: Tensor
    log_span: Tensor


def bounds(schedule: Schedule, t: Steps) -> Bounds:
    """Posterior weight and range of variances at steps of a batch (Ho et al. 2020, eqs. 6-7).

    Raises:
        ValueError: t is not of whole steps.
    """
    if t.is_floating_point():
        raise ValueError(f"variational bound: t must be whole steps (int64), got {t.dtype}; bound a chain")
    signal, noise = schedule.scales(t)
    previous_signal, previous_noise = schedule.scales(t - 1)
    step_var = noise.square() - (signal / previous_signal * previous_noise).square()
    second = t.clamp(min=min(2, schedule.T))
    second_signal, second_noise = schedule.scales(second)
    first_signal, first_noise = schedule.scales(second - 1)
    second_step_var = second_noise.square() - (second_signal / first_signal * first_noise).square()
    share = (first_noise / second_noise).square() if schedule.T > 1 else torch.ones_like(noise)  # a chain of one step
    log_var = (second_step_var * share).log()
    shape = (-1, 1, 1, 1)
    return Bounds(
        (previous_signal * step_var / noise.square()).reshape(shape),
        log_var.reshape(shape),
        (step_var.log() - log_var).reshape(shape),
    )


def step_bound(schedule: Schedule, x0: Images, x_t: Images, t: Steps, belief: Prediction, variance: str) -> Tensor:
    """One term of the variational bound, in bits per dimension (Ho et al. 2020, eq. 5).

    t > 1: L_{t-1} = KL(q(x_{t-1} | x_t, x0) || p(x_{t-1} | x_t)); t = 1: L_0 = -log p(x0 | x_1), eq. 13

    Sum over t = 1..T, add `prior_bound`, and -log p(x0) is below it. Both Gaussians weight x_t alike, so their means
    differ by x0_weight (x0 - x0_hat). Computed in float64.

    The variance of p at t = 1 is 0 by the posterior's formula, so the posterior's at t = 2 stands in, for fixed_large
    too (Ho et al. 2020 and Nichol & Dhariwal 2021, their code); a learned one lies between it and beta_1.

    Args:
        schedule: tables on the device of x0.
        x0: (batch, channels, height, width), on the 256 levels of [-1, 1].
        x_t: shaped like x0; unused beyond its shape, since the means share it.
        t: (batch,) int64, 1..T.
        belief: what the net says about x_t.
        variance: of p: fixed_large, fixed_small, or learned (belief.var_fraction between the two, in logs).

    Returns:
        (batch,), float64.

    Raises:
        ValueError: t is not of whole steps, or a learned variance is asked of a net that has none.
    """
    x0_weight, log_var, log_span = bounds(schedule, t)
    first = (t == 1).reshape(-1, 1, 1, 1)
    excess = _excess(log_span, first, belief, variance)  # log variance of p above its lower end
    error = x0.double() - belief.x0_hat.double()
    divergence = (excess + torch.expm1(-excess) + (x0_weight * error).square() * (-excess - log_var).exp()) / 2
    # Outside of t = 1 the decoder is asked about a perfect belief: a wild one could make its gradient infinite.
    error, excess = torch.where(first, error, 0.0), torch.where(first, excess, 0.0)
    decoder = -decoder_log_prob(x0.double(), error, (log_var + excess) / 2)
    return torch.where(first, decoder, divergence).expand(x_t.shape).mean(dim=(1, 2, 3)) / math.log(2)


def _excess(log_span: Tensor, first: Tensor, belief: Prediction, variance: str) -> Tensor:
    if variance == "learned":
        if belief.var_fraction is None:
            raise ValueError("variational bound: variance must be fixed_large or fixed_small for a net without its own")
        return belief.var_fraction.double() * log_span
    if variance == "fixed_large":
        return torch.where(first, 0.0, log_span)
    if variance == "fixed_small":
        return torch.zeros_like(log_span)
    raise ValueError(f"variational bound: variance must be fixed_large, fixed_small or learned, got {variance}")


def decoder_log_prob(x0: Images, error: Images, log_std: Tensor) -> Images:
    """Log probability (nats) of 8-bit pixels under a Gaussian cut into 256 levels (Ho et al. 2020, eq. 13).

    log integral of N(x; x0 - error, std^2) over x0 - 1/255 .. x0 + 1/255; the ends -1 and 1 reach to infinity

    Exact in the tails, where a difference of two probabilities would be 0: both are taken in logs on the side of the
    normal distribution where they are small.

    Args:
        x0: float64, on the 256 levels of [-1, 1].
        error: x0 minus the mean of the Gaussian.
        log_std: of the Gaussian.
    """
    std = log_std.exp()
    z, half = error / std, HALF_LEVEL / std
    low, high = (torch.special.log_ndtr(-z.abs() + side * half) for side in (-1, 1))
    inside = high + (-torch.expm1(low - high)).log()
    lowest, highest = torch.special.log_ndtr(z + half), torch.special.log_ndtr(half - z)
    log_prob: Images = torch.where(x0 < -0.999, lowest, torch.where(x0 > 0.999, highest, inside))
    return log_prob


def prior_bound(schedule: Schedule, x0: Images) -> Tensor:
    """L_T = KL(q(x_T | x0) || N(0, prior_scale^2)), in bits per dimension (Ho et al. 2020, eq. 5).

    Args:
        schedule: tables on the device of x0.
        x0: (batch, channels, height, width), in [-1, 1].

    Returns:
        (batch,), float64.
    """
    signal, noise = schedule.signal_scale[-1], schedule.noise_scale[-1]
    var = (noise / schedule.prior_scale).square()
    mean_square = (x0.double() * signal / schedule.prior_scale).square().mean(dim=(1, 2, 3))
    return (var - var.log() - 1 + mean_square) / 2 / math.log(2)
